# SPDX-License-Identifier: GPL-3.0-or-later
"""Numba kernels that put splats in order of depth and hand them out to tiles, both by stable counting scatters.

Work is split into fixed chunks, not into threads, so the result does not depend on the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .cpu_project import CHUNK, EXTENT_X, EXTENT_Y, FAST, FLAT, JIT, LEAN, SPLAT_WIDTH, X, Y

TILE_WIDTH = 16
TILE_HEIGHT = 32
SCATTER_CHUNKS = 16
DIGIT = 11
BUCKETS = 1 << DIGIT
ROW_SLACK = 0.01
"""Pixels by which an ellipse's rows are widened against rounding; the alpha test decides in the end."""


@njit(**JIT)
def compact(keys, slots, counts, out_keys, out_slots):  # type: ignore[no-untyped-def]
    """Close the gaps between the chunks; depth becomes an integer that sorts like it. Returns how many there are."""
    filled = 0
    bits = keys.view(np.uint32)
    for chunk in range(counts.shape[0]):
        for i in range(chunk * CHUNK, chunk * CHUNK + counts[chunk]):
            key = bits[i]
            out_keys[filled] = ~key if key >> np.uint32(31) else key | np.uint32(0x80000000)
            out_slots[filled] = slots[i]
            filled += 1
    return filled


@njit(parallel=True, **JIT)
def radix_pass(keys, slots, shift, out_keys, out_slots):  # type: ignore[no-untyped-def]
    """One stable pass of a least-significant-digit radix sort."""
    count = keys.shape[0]
    step = (count + SCATTER_CHUNKS - 1) // SCATTER_CHUNKS
    ends = np.zeros((SCATTER_CHUNKS, BUCKETS), np.int64)
    for chunk in prange(SCATTER_CHUNKS):
        for i in range(chunk * step, min(chunk * step + step, count)):
            ends[chunk, (keys[i] >> shift) & np.uint32(BUCKETS - 1)] += 1
    total = 0
    for bucket in range(BUCKETS):
        for chunk in range(SCATTER_CHUNKS):
            size = ends[chunk, bucket]
            ends[chunk, bucket] = total
            total += size
    for chunk in prange(SCATTER_CHUNKS):
        for i in range(chunk * step, min(chunk * step + step, count)):
            digit = (keys[i] >> shift) & np.uint32(BUCKETS - 1)
            place = ends[chunk, digit]
            ends[chunk, digit] = place + 1
            out_keys[place] = keys[i]
            out_slots[place] = slots[i]


@njit(parallel=True, **JIT)
def gather(splats, order, out):  # type: ignore[no-untyped-def]
    """Copy splats into order of depth, so that the blend reads them nearly in sequence."""
    for chunk in prange((order.shape[0] + CHUNK - 1) // CHUNK):
        for rank in range(chunk * CHUNK, min(chunk * CHUNK + CHUNK, order.shape[0])):
            for column in range(SPLAT_WIDTH):
                out[rank, column] = splats[order[rank], column]


@njit(fastmath=FAST, inline="always", **JIT)
def _tile_columns(splat, tiles_x):  # type: ignore[no-untyped-def]
    """First and one past the last column of tiles whose pixel centres the ellipse may cover."""
    first = math.floor((splat[X] - splat[EXTENT_X] - ROW_SLACK - 0.5) / TILE_WIDTH)
    last = math.floor((splat[X] + splat[EXTENT_X] + ROW_SLACK - 0.5) / TILE_WIDTH)
    return max(int(first), 0), min(int(last) + 1, tiles_x)


@njit(fastmath=FAST, inline="always", **JIT)
def _rows_in_column(splat, column, height):  # type: ignore[no-untyped-def]
    """First and one past the last pixel row that the ellipse covers within a column of tiles.

    At x = X + t EXTENT_X the ellipse spans y = Y + EXTENT_Y (r t -+ sqrt(1 - r^2) sqrt(1 - t^2)), r = LEAN,
    which is lowest at t = -r and highest at t = r.
    """
    left = (column * TILE_WIDTH + 0.5 - splat[X]) / splat[EXTENT_X]
    right = left + (TILE_WIDTH - 1) / splat[EXTENT_X]
    left = min(max(left, -1.0), 1.0)
    right = min(max(right, -1.0), 1.0)
    lean = splat[LEAN]
    low = min(max(-lean, left), right)
    high = min(max(lean, left), right)
    top = splat[Y] + splat[EXTENT_Y] * (lean * low - splat[FLAT] * math.sqrt(1.0 - low * low))
    bottom = splat[Y] + splat[EXTENT_Y] * (lean * high + splat[FLAT] * math.sqrt(1.0 - high * high))
    first = max(math.ceil(max(top, -1.0) - ROW_SLACK - 0.5), 0)
    last = min(math.floor(min(bottom, height + 1.0) + ROW_SLACK - 0.5) + 1, height)
    return int(first), int(last)


@njit(parallel=True, fastmath=FAST, **JIT)
def count_pairs(splats, tiles, height, counts):  # type: ignore[no-untyped-def]
    """``counts`` [chunks, tiles_y * tiles_x] gets how many splats of each chunk touch each tile."""
    visible = splats.shape[0]
    step = (visible + SCATTER_CHUNKS - 1) // SCATTER_CHUNKS
    for chunk in prange(SCATTER_CHUNKS):
        for rank in range(chunk * step, min(chunk * step + step, visible)):
            begin, end = _tile_columns(splats[rank], tiles[0])
            for column in range(begin, end):
                first, last = _rows_in_column(splats[rank], column, height)
                if last > first:
                    for row in range(first // TILE_HEIGHT, (last - 1) // TILE_HEIGHT + 1):
                        counts[chunk, row * tiles[0] + column] += 1


@njit(**JIT)
def offsets_of(counts, offsets):  # type: ignore[no-untyped-def]
    """Turn counts into the place where each chunk's first pair of each tile goes; ``offsets`` [tiles + 1]."""
    total = 0
    for tile in range(counts.shape[1]):
        offsets[tile] = total
        for chunk in range(counts.shape[0]):
            size = counts[chunk, tile]
            counts[chunk, tile] = total
            total += size
    offsets[counts.shape[1]] = total


@njit(parallel=True, fastmath=FAST, **JIT)
def scatter_pairs(splats, tiles, height, ends, ranks, rows):  # type: ignore[no-untyped-def]
    """Fill ``ranks`` [P] and ``rows`` [P, 2] (first, one past last, within the tile) in order of tile, then depth."""
    visible = splats.shape[0]
    step = (visible + SCATTER_CHUNKS - 1) // SCATTER_CHUNKS
    for chunk in prange(SCATTER_CHUNKS):
        for rank in range(chunk * step, min(chunk * step + step, visible)):
            begin, end = _tile_columns(splats[rank], tiles[0])
            for column in range(begin, end):
                first, last = _rows_in_column(splats[rank], column, height)
                if last > first:
                    for row in range(first // TILE_HEIGHT, (last - 1) // TILE_HEIGHT + 1):
                        place = ends[chunk, row * tiles[0] + column]
                        ends[chunk, row * tiles[0] + column] = place + 1
                        ranks[place] = rank
                        rows[place, 0] = max(first - row * TILE_HEIGHT, 0)
                        rows[place, 1] = min(last - row * TILE_HEIGHT, TILE_HEIGHT)
