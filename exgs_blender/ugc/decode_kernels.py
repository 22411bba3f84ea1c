# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder's loops, compiled; imported only where numba is. ``layer_coding`` and ``spherical`` hold their numpy twins."""

from __future__ import annotations

import numpy as np
from numba import njit

from .rans import SCALE_BITS, SEARCH_BITS, STATE_LOW

MASK, SHIFT, LOW = (1 << SCALE_BITS) - 1, SCALE_BITS, STATE_LOW
OWN_KIND, NEAR_KIND = 1, 2


@njit(cache=True, nogil=True)
def read_channel(  # type: ignore[no-untyped-def]
    state,
    words,
    at,
    first,
    ends,
    alphabet,
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
        first, ends, alphabet: of the channel's ``Search``.
        kind1, table1, source1: 0, OWN_KIND or NEAR_KIND; the row by symbol, last that of missing neighbours; the symbols of the first
            source's channel.
        kind2, table2, source2: of the second source.
        before, after: neighbours; empty in the first layer.
        active, above: the channel is there where active[e] > above; an empty ``active`` means everywhere.
        run: first Gaussian of the run.
        values: [n] out.
        symbols: [all Gaussians] out, or empty where no channel has this one as a context.

    Returns:
        The place after the last word; beyond the end where words are missing. ``words`` must not be empty.
    """
    lanes, lane, last = len(state), 0, len(words) - 1
    partly, kept, alone = len(active) > 0, len(symbols) > 0, len(before) == 0
    for e in range(len(values)):
        if partly and active[e] <= above:
            continue
        row = np.int64(0)
        if kind1 == OWN_KIND:
            row += table1[source1[run + e]]
        elif kind1 == NEAR_KIND:
            mean = len(table1) - 1 if alone else (np.int64(source1[before[e]]) + np.int64(source1[after[e]])) >> 1
            row += table1[mean]
        if kind2 == OWN_KIND:
            row += table2[source2[run + e]]
        elif kind2 == NEAR_KIND:
            mean = len(table2) - 1 if alone else (np.int64(source2[before[e]]) + np.int64(source2[after[e]])) >> 1
            row += table2[mean]
        x = np.int64(state[lane])
        slot = x & MASK
        symbol = np.int64(first[row << SEARCH_BITS | slot >> SHIFT - SEARCH_BITS])
        place = row * (alphabet + 1) + symbol
        while np.int64(ends[place + 1]) <= slot:
            place += 1
        symbol = place - row * (alphabet + 1)
        start = np.int64(ends[place])
        x = (np.int64(ends[place + 1]) - start) * (x >> SHIFT) + slot - start
        refilled = x << 16 | np.int64(words[min(at, last)])  # without a branch: it would be mispredicted half the time
        needs = x < LOW
        x = refilled if needs else x
        at += needs
        state[lane] = x
        values[e] = low + (symbol << plain)
        if kept:
            symbols[run + e] = symbol
        lane += 1
        if lane == lanes:
            lane = 0
    return at


@njit(cache=True, nogil=True, fastmath=True)
def combine(components, basis, out):  # type: ignore[no-untyped-def]
    """out [N, R] = components [M, N] transposed, times basis [M, R]; most components are 0."""
    for n in range(out.shape[0]):
        for r in range(out.shape[1]):
            out[n, r] = 0
        for m in range(components.shape[0]):
            q = components[m, n]
            if q != 0:
                factor = np.float32(q)
                for r in range(out.shape[1]):
                    out[n, r] += factor * basis[m, r]


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
