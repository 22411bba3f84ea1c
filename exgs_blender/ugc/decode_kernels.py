# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder's loops, compiled; imported only where numba is. ``layer_decoding`` and ``dequantise`` hold their numpy twins."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .rans import SCALE_BITS, SEARCH_BITS, STATE_LOW

U = np.uint64
"""Indices: unsigned ones cost no test for negative values."""
MASK, SHIFT, LOW, FIRST_SHIFT = U((1 << SCALE_BITS) - 1), U(SCALE_BITS), U(STATE_LOW), U(SCALE_BITS - SEARCH_BITS)
ONE, WORD = U(1), U(16)
ROW_SHIFT = U(SEARCH_BITS)


@njit(cache=True, nogil=True)
def narrow(active, above, where):  # type: ignore[no-untyped-def]
    """Keep of the indices ``where`` those with active > above, in place and in order; returns how many."""
    kept = U(0)
    for i in range(U(len(where))):
        e = where[i]
        where[kept] = e
        kept += U(active[U(e)] > above)
    return kept


@njit(cache=True, nogil=True)
def add_classes(table, source, run, where, rows):  # type: ignore[no-untyped-def]
    """rows[k] += the class, by ``table``, of the own symbol of the Gaussian run + where[k]; ``source`` holds those of all Gaussians."""
    for k in range(U(len(rows))):
        rows[k] += table[U(source[U(run) + U(where[k])])]


@njit(cache=True, nogil=True)
def add_near_classes(table, source, before, after, where, rows):  # type: ignore[no-untyped-def]
    """The same of the mean symbol of the two neighbours of the Gaussian."""
    for k in range(U(len(rows))):
        e = U(where[k])
        rows[k] += table[(U(source[U(before[e])]) + U(source[U(after[e])])) >> ONE]


@njit(cache=True, nogil=True)
def read_symbols(state, words, at, first, ends, alphabet, rows, symbols):  # type: ignore[no-untyped-def]
    """Fill ``symbols`` [n] from the tables' ``rows`` [n]; the twin of ``StreamDecoder.read``.

    Args:
        state, words, at: of the stream; ``words`` must not be empty.
        first, ends, alphabet: of the channel's ``Search``.

    Returns:
        The place after the last word; beyond the end where words are missing.
    """
    count, lanes, last, width = U(len(symbols)), U(len(state)), U(len(words) - 1), U(alphabet + 1)
    at = U(at)
    for start in range(U(0), count, lanes):
        for lane in range(min(lanes, count - start)):
            row = U(rows[start + lane])
            x = U(state[lane])
            slot = x & MASK
            base = row * width
            place = base + U(first[(row << ROW_SHIFT) | (slot >> FIRST_SHIFT)])
            while U(ends[place + ONE]) <= slot:
                place += ONE
            begin = U(ends[place])
            x = (U(ends[place + ONE]) - begin) * (x >> SHIFT) + slot - begin
            refilled = (x << WORD) | U(words[min(at, last)])  # without a branch: it would be mispredicted half the time
            needs = x < LOW
            at += U(needs)
            state[lane] = np.uint32(refilled if needs else x)
            symbols[start + lane] = np.uint16(place - base)
    return at


@njit(cache=True, nogil=True)
def place(symbols, where, low, plain, values):  # type: ignore[no-untyped-def]
    """values[where] = low + (symbols << plain)."""
    for k in range(U(len(symbols))):
        values[U(where[k])] = np.int32(low + (np.int64(symbols[k]) << plain))


@njit(cache=True, nogil=True)
def count_cuts(scales, refinement, cuts):  # type: ignore[no-untyped-def]
    """cuts [n] of log-scale integers [3, n]; the twin of ``Grid.cuts``."""
    for i in range(len(cuts)):
        a, b, c = scales[0, i], scales[1, i], scales[2, i]
        middle = max(min(a, b), min(max(a, b), c))
        count = 0
        for r in range(len(refinement)):
            count += middle <= refinement[r]
        cuts[i] = count


@njit(cache=True, nogil=True, error_model="numpy")
def fill_means(cells, offsets, cuts, low, cell, finest, radius, centre, means):  # type: ignore[no-untyped-def]
    """means [n, 3] from cells and offsets [n, 3]; the twin of ``Grid.world_from_places``."""
    for i in range(len(cuts)):
        shift = np.int64(finest - 1 - cuts[i])
        for axis in range(3):
            place = (np.int64(cells[i, axis]) << np.int64(cuts[i])) | np.int64(offsets[i, axis])
            u = low[axis] + cell * (np.float64((2 * place + 1) << shift) / np.float64(1 << finest))
            means[i, axis] = np.float32(math.sinh(u) * radius + centre[axis])


@njit(cache=True, nogil=True, error_model="numpy")
def fill_shapes(scales, rotations, step, turn, roundness, extents, lowest, quats, logs):  # type: ignore[no-untyped-def]
    """quats [n, 4] and log-scales [n, 3] from integers [3, n]; the twin of ``rotation_steps`` and ``quats_from_rodrigues``.

    ``extents``: widened, by log-scale integer from ``lowest`` on; every number float32.
    """
    one = np.float32(1)
    for i in range(logs.shape[0]):
        a, b, c = extents[scales[0, i] - lowest], extents[scales[1, i] - lowest], extents[scales[2, i] - lowest]
        x, y, z = b / c, a / c, a / b
        x, y, z = x - one / x, y - one / y, z - one / z
        x = np.float32(rotations[0, i]) * (turn / np.sqrt(x * x + roundness))
        y = np.float32(rotations[1, i]) * (turn / np.sqrt(y * y + roundness))
        z = np.float32(rotations[2, i]) * (turn / np.sqrt(z * z + roundness))
        w = one / np.sqrt(one + x * x + y * y + z * z)
        quats[i, 0] = w
        quats[i, 1] = x * w
        quats[i, 2] = y * w
        quats[i, 3] = z * w
        for axis in range(3):
            logs[i, axis] = np.float32(scales[axis, i]) * step


@njit(cache=True, nogil=True)
def fill_colours(colours, back, offset, sh0):  # type: ignore[no-untyped-def]
    """sh0 [n, 3] = colours [3, n] transposed, times back [3, 3], plus offset."""
    for i in range(sh0.shape[0]):
        a, b, c = np.float32(colours[0, i]), np.float32(colours[1, i]), np.float32(colours[2, i])
        for channel in range(3):
            sh0[i, channel] = a * back[0, channel] + b * back[1, channel] + c * back[2, channel] + offset


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
