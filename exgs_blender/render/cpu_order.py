# SPDX-License-Identifier: GPL-3.0-or-later
"""Numba kernels that put splats in order of depth and hand them out to tiles, both by stable counting scatters.

Work is split into fixed chunks, not into threads, so the result does not depend on the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .cpu_project import CHUNK, EXTENT_X, EXTENT_Y, FAST, FLAT, JIT, LEAN, PER_EXTENT_X, SPLAT_WIDTH, X, Y

TILE_WIDTH = 16
TILE_HEIGHT = 64
SCATTER_CHUNKS = 16
DIGIT = 11
BUCKETS = 1 << DIGIT
SLACK = np.float32(0.01)
"""Pixels by which an ellipse's rows are widened against rounding; the alpha test decides in the end."""
ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
U = np.uint64


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


@njit(fastmath=FAST, inline="always", **JIT)
def _tile_columns(splats, rank, tiles_x):  # type: ignore[no-untyped-def]
    """First and one past the last column of tiles whose pixel centres the ellipse may cover."""
    reach = splats[rank, U(EXTENT_X)] + SLACK
    first = (splats[rank, U(X)] - reach - HALF) * np.float32(1 / TILE_WIDTH)
    last = (splats[rank, U(X)] + reach - HALF) * np.float32(1 / TILE_WIDTH)
    return np.int64(max(first, ZERO)), np.int64(max(min(last + ONE, np.float32(tiles_x)), ZERO))


@njit(fastmath=FAST, inline="always", **JIT)
def _tile_rows(splats, rank, tiles_y):  # type: ignore[no-untyped-def]
    """As :func:`_tile_columns`, for rows of tiles."""
    reach = splats[rank, U(EXTENT_Y)] + SLACK
    first = (splats[rank, U(Y)] - reach - HALF) * np.float32(1 / TILE_HEIGHT)
    last = (splats[rank, U(Y)] + reach - HALF) * np.float32(1 / TILE_HEIGHT)
    return np.int64(max(first, ZERO)), np.int64(max(min(last + ONE, np.float32(tiles_y)), ZERO))


@njit(fastmath=FAST, inline="always", **JIT)
def _rows_in_column(splats, rank, column, height):  # type: ignore[no-untyped-def]
    """First and one past the last pixel row that the ellipse covers within a column of tiles.

    At x = X + t EXTENT_X the ellipse spans y = Y + EXTENT_Y (r t -+ sqrt(1 - r^2) sqrt(1 - t^2)), r = LEAN,
    which is lowest at t = -r and highest at t = r.
    """
    per_extent = splats[rank, U(PER_EXTENT_X)]
    left = (np.float32(column * TILE_WIDTH) + HALF - splats[rank, U(X)]) * per_extent
    right = min(max(left + np.float32(TILE_WIDTH - 1) * per_extent, -ONE), ONE)
    left = min(max(left, -ONE), ONE)
    lean = splats[rank, U(LEAN)]
    flat = splats[rank, U(FLAT)]
    low = min(max(-lean, left), right)
    high = min(max(lean, left), right)
    middle = splats[rank, U(Y)] - HALF
    extent = splats[rank, U(EXTENT_Y)]
    top = middle + extent * (lean * low - flat * math.sqrt(ONE - low * low)) - SLACK
    bottom = middle + extent * (lean * high + flat * math.sqrt(ONE - high * high)) + SLACK
    first = np.int64(min(max(math.ceil(top), ZERO), height))
    last = np.int64(min(max(math.floor(bottom) + ONE, ZERO), height))
    return first, last


@njit(parallel=True, fastmath=FAST, **JIT)
def gather(splats, order, tiles, out, room):  # type: ignore[no-untyped-def]
    """Copy splats into order of depth, so that later steps read them in sequence.

    ``room`` [chunks] gets how many tiles the bounding boxes of each chunk's splats touch.
    """
    visible = order.shape[0]
    step = (visible + SCATTER_CHUNKS - 1) // SCATTER_CHUNKS
    for chunk in prange(SCATTER_CHUNKS):
        touched = 0
        for rank in range(U(chunk * step), U(min(chunk * step + step, visible))):
            source = U(order[rank])
            for column in range(U(SPLAT_WIDTH)):
                out[rank, column] = splats[source, column]
            left, right = _tile_columns(splats, source, tiles[0])
            top, bottom = _tile_rows(splats, source, tiles[1])
            touched += (right - left) * (bottom - top)
        room[chunk] = touched


@njit(parallel=True, fastmath=FAST, **JIT)
def emit_pairs(splats, tiles, height, starts, where, pairs, counts):  # type: ignore[no-untyped-def]
    """List the tiles that each splat touches: chunk c writes ``where`` (the tile) and ``pairs`` from ``starts[c]`` on.

    A pair packs the splat's rank and the rows of the tile that it touches: rank << 16 | first << 8 | one past last.
    ``counts`` [chunks, tiles] gets how many pairs of each chunk belong to each tile, ``starts`` moves to the end.
    """
    visible = splats.shape[0]
    step = (visible + SCATTER_CHUNKS - 1) // SCATTER_CHUNKS
    bound = np.float32(height)
    for chunk in prange(SCATTER_CHUNKS):
        place = U(starts[chunk])
        for rank in range(U(chunk * step), U(min(chunk * step + step, visible))):
            left, right = _tile_columns(splats, rank, tiles[0])
            for column in range(left, right):
                first, last = _rows_in_column(splats, rank, column, bound)
                if last > first:
                    for row in range(U(first) // U(TILE_HEIGHT), U(last - 1) // U(TILE_HEIGHT) + U(1)):
                        top = row * U(TILE_HEIGHT)
                        tile = row * U(tiles[0]) + U(column)
                        begin = U(max(first - np.int64(top), 0))
                        end = min(U(last) - top, U(TILE_HEIGHT))
                        where[place] = tile
                        pairs[place] = (rank << U(16)) | (begin << U(8)) | end
                        counts[U(chunk), tile] += 1
                        place += U(1)
        starts[chunk] = place


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


@njit(parallel=True, **JIT)
def scatter_pairs(where, pairs, starts, stops, ends, out):  # type: ignore[no-untyped-def]
    """Put the pairs in order of tile, then depth; ``ends`` [chunks, tiles] says where each chunk's next one goes."""
    for chunk in prange(SCATTER_CHUNKS):
        for i in range(U(starts[chunk]), U(stops[chunk])):
            tile = U(where[i])
            place = U(ends[U(chunk), tile])
            ends[U(chunk), tile] += 1
            out[place] = pairs[i]
