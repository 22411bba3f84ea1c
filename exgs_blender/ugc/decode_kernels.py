# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder's loops, compiled; imported only where numba is. ``layer_coding`` holds their numpy twins."""

from __future__ import annotations

import numpy as np
from numba import njit

MASK, SHIFT, LOW = 4095, 12, 1 << 16
OWN_KIND, NEAR_KIND = 1, 2


@njit(cache=True, nogil=True)
def read_channel(  # type: ignore[no-untyped-def]
    state,
    words,
    at,
    packed,
    names,
    low,
    plain,
    kind1,
    table1,
    source1,
    kind2,
    table2,
    source2,
    before,
    after,
    active,
    above,
    run,
    values,
    symbols,
):
    """One channel of a run of Gaussians.

    Args:
        state, words, at: of the stream.
        packed, names: of the channel's ``Decoder``.
        kind1, table1, source1: 0, OWN_KIND or NEAR_KIND; the row << 12 by symbol; the symbols of the first source's channel.
        kind2, table2, source2: of the second source.
        before, after: neighbours; empty in the first layer.
        active, above: the channel is there where active[e] > above; an empty ``active`` means everywhere.
        run: first Gaussian of the run.
        values: [n] out.
        symbols: [all Gaussians] out, or empty where no channel has this one as a context.

    Returns:
        The place after the last word, or one beyond the end where words are missing.
    """
    lanes, lane = len(state), 0
    partly, kept, alone = len(active) > 0, len(symbols) > 0, len(before) == 0
    for e in range(len(values)):
        if partly and active[e] <= above:
            continue
        x = np.int64(state[lane])
        slot = x & MASK
        if kind1 == OWN_KIND:
            slot += table1[source1[run + e]]
        elif kind1 == NEAR_KIND:
            mean = len(table1) - 1 if alone else (np.int64(source1[before[e]]) + np.int64(source1[after[e]])) >> 1
            slot += table1[mean]
        if kind2 == OWN_KIND:
            slot += table2[source2[run + e]]
        elif kind2 == NEAR_KIND:
            mean = len(table2) - 1 if alone else (np.int64(source2[before[e]]) + np.int64(source2[after[e]])) >> 1
            slot += table2[mean]
        code = np.int64(packed[slot])
        x = (code >> SHIFT) * (x >> SHIFT) + (code & MASK)
        if x < LOW:
            if at >= len(words):
                return len(words) + 1
            x = x << 16 | np.int64(words[at])
            at += 1
        state[lane] = x
        symbol = names[slot]
        values[e] = low + (np.int64(symbol) << plain)
        if kept:
            symbols[run + e] = symbol
        lane += 1
        if lane == lanes:
            lane = 0
    return at


@njit(cache=True, nogil=True)
def unpack(data, lengths, values):  # type: ignore[no-untyped-def]
    """Integers of given bit lengths, most significant bit first; ``data`` ends with eight bytes to spare."""
    bit = np.int64(0)
    for i in range(len(lengths)):
        value, left = np.int64(0), np.int64(lengths[i])
        while left > 0:
            free = 8 - (bit & 7)
            take = np.int64(free if free < left else left)
            part = (np.int64(data[bit >> 3]) >> (free - take)) & ((1 << take) - 1)
            value = value << take | part
            bit += take
            left -= take
        values[i] = value
