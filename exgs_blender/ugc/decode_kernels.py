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
def search_tables(frequencies, first, ends):  # type: ignore[no-untyped-def]
    """Fill first [rows, 2^10] and ends [rows, alphabet + 1] of a ``Search``."""
    step = 1 << (SCALE_BITS - SEARCH_BITS)
    for row in range(frequencies.shape[0]):
        end, slot = 0, 0
        for symbol in range(frequencies.shape[1]):
            ends[row, symbol] = end
            end += frequencies[row, symbol]
            while slot * step < end:
                first[row, slot] = symbol
                slot += 1
        ends[row, frequencies.shape[1]] = end


@njit(cache=True, nogil=True)
def neighbours(earlier, order, start, codes, before, after):  # type: ignore[no-untyped-def]
    """Fill before and after [n]; the twin of ``Earlier.neighbours`` for ascending ``codes`` [n], whose first has the place ``start``."""
    place, last = np.int64(start), len(earlier) - 1
    for k in range(len(codes)):
        while place <= last and earlier[place] <= codes[k]:
            place += 1
        before[k] = order[max(place - 1, 0)]
        after[k] = order[min(place, last)]


@njit(cache=True, nogil=True)
def mean_symbols(source, before, after, means):  # type: ignore[no-untyped-def]
    """means [n] of the symbols that two Gaussians each have, rounded down."""
    for k in range(U(len(means))):
        means[k] = (U(source[U(before[k])]) + U(source[U(after[k])])) >> ONE


@njit(cache=True, nogil=True)
def read_channel(state, words, at, first, ends, alphabet, table_a, source_a, table_b, source_b, where, low, plain, values, kept):  # type: ignore[no-untyped-def]
    """Read a channel of the Gaussians ``where`` in a run of n; the twin of ``StreamDecoder.read`` and of what surrounds it.

    Args:
        state, words, at: of the stream; ``words`` must not be empty.
        first, ends, alphabet: of the channel's ``Search``.
        table_a, source_a: a symbol's row is table_a[source_a[i]] + table_b[source_b[i]]; sources [n].
        low, plain: values [n] become low + (symbol << plain).
        kept: [n] the symbols.

    Returns:
        The place after the last word; beyond the end where words are missing.
    """
    count, lanes, last, width = U(len(where)), U(len(state)), U(len(words) - 1), U(alphabet + 1)
    at = U(at)
    for start in range(U(0), count, lanes):
        for lane in range(min(lanes, count - start)):
            e = U(where[start + lane])
            row = U(table_a[U(source_a[e])] + table_b[U(source_b[e])])
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
            symbol = place - base
            kept[e] = np.uint16(symbol)
            values[e] = np.int32(low + (np.int64(symbol) << plain))
    return at


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
            e = math.exp(u)
            means[i, axis] = np.float32(0.5 * (e - 1 / e) * radius + centre[axis])  # sinh


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
def unpack(words, lengths, values):  # type: ignore[no-untyped-def]
    """Integers of given bit lengths (at most 57), most significant bit first; the twin of ``unpack_bits``.

    ``words``: uint32, two more than are filled.
    """
    bit = U(0)
    for i in range(U(len(lengths))):
        length, at, into = U(lengths[i]), bit >> U(5), bit & U(31)
        window = ((U(words[at]) << U(32)) | U(words[at + ONE])) << into
        window |= (U(words[at + U(2)]) << into) >> U(32)
        values[i] = np.int64(window >> (U(64) - length)) if length else 0
        bit += length


@njit(cache=True, nogil=True)
def part_axes(joined, cuts, offsets):  # type: ignore[no-untyped-def]
    """offsets [n, 3] of ``cuts`` bits each, from the three in one."""
    for i in range(U(len(joined))):
        bits, value = U(cuts[i]), U(joined[i])
        mask = (ONE << bits) - ONE
        offsets[i, 0] = value >> (bits + bits)
        offsets[i, 1] = (value >> bits) & mask
        offsets[i, 2] = value & mask


@njit(cache=True, nogil=True)
def cells_from_codes(codes, cells):  # type: ignore[no-untyped-def]
    """cells [n, 3] from Morton codes; the twin of the function in ``grid``."""
    for i in range(U(len(codes))):
        for axis in range(U(3)):
            x = (U(codes[i]) >> axis) & U(0x1249249249249249)
            x = (x | (x >> U(2))) & U(0x10C30C30C30C30C3)
            x = (x | (x >> U(4))) & U(0x100F00F00F00F00F)
            x = (x | (x >> U(8))) & U(0x1F0000FF0000FF)
            x = (x | (x >> U(16))) & U(0x1F00000000FFFF)
            cells[i, axis] = np.int32((x | (x >> U(32))) & U(0x1FFFFF))
