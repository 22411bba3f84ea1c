# SPDX-License-Identifier: GPL-3.0-or-later
"""The compiled twin of ``rans.StreamDecoder.read_stepwise``; imported only where numba is."""

from __future__ import annotations

from numba import njit

MASK, SHIFT, LOW = 4095, 12, 1 << 16


@njit(cache=True, nogil=True)
def read_symbols(state, words, at, packed, table, rows, symbols):  # type: ignore[no-untyped-def]
    """Fill ``symbols``; returns the place after the last word, or one beyond the end where words are missing."""
    lanes, lane, varied = len(state), 0, len(rows) == len(symbols)
    for e in range(len(symbols)):
        x = int(state[lane])
        slot = x & MASK
        if varied:
            slot += rows[e]
        code = int(packed[slot])
        x = (code >> SHIFT) * (x >> SHIFT) + (code & MASK)
        if x < LOW:
            if at >= len(words):
                return len(words) + 1
            x = x << 16 | int(words[at])
            at += 1
        state[lane] = x
        symbols[e] = table[slot]
        lane += 1
        if lane == lanes:
            lane = 0
    return at
