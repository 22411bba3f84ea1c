# SPDX-License-Identifier: GPL-3.0-or-later
"""Numba kernels that blend the splats of each tile front to back.

The loop over the pixels of a tile's row is the hot one and must become vector code: it has a constant length, no branches
(selects only), unsigned indices and one flat float32 buffer. A row of that buffer holds T, red, green, blue and depth of
its pixels one after the other.

Where a splat's deeds are summed up as well, a row also holds what the splat has done in each column above it: each row
adds its own share to that and leaves the sum in the row below. (Sums in one place for all rows would do, but the compiler
could not see that they lie apart from the row, and would not vectorise.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from . import constants
from .cpu_order import TILE_HEIGHT, TILE_WIDTH
from .cpu_project import BLUE, DEPTH, FAST, GREEN, JIT, LOG_OPACITY, RED, SPLAT_WIDTH, UX, UY, VY, X, Y

PLANES = 5
WEIGHT, WEIGHT_MAX, HITS, TRANSMITTANCE, WEIGHT_TRANSMITTANCE, EVALUATED = range(6)
"""What is summed up for a pair: weight, largest weight, hits, T, weight * T, pixels evaluated."""
BLUR = EVALUATED
"""Instead of the last, for a Gaussian: weight times the area of a pixel at its depth."""
MEASURES = 6
PAINTED_ROW = PLANES * TILE_WIDTH
MEASURED_ROW = (PLANES + EVALUATED) * TILE_WIDTH
BATCH = 16
"""Splats that are fetched together; before each batch a tile looks for rows that are finished."""

LOG_ALPHA_MIN = np.float32(math.log(constants.ALPHA_MIN) / math.log(256.0))
ALPHA_MAX = np.float32(constants.ALPHA_MAX)
STOP = np.float32(constants.TRANSMITTANCE_STOP)
ALPHA_EPS = constants.ALPHA_EPS
ONE = np.float32(1.0)
ZERO = np.float32(0.0)
E0, E1, E2, E3, E4, E5 = (
    np.float32(c) for c in (9.99999925e-01, 6.93142253e-01, 2.40172189e-01, 5.52797226e-02, 9.18861173e-03, 9.38788338e-04)
)
"""2^x on -1..0 with the smallest largest relative error, 7.5e-8 (Remez)."""
U = np.uint64


@njit(fastmath=FAST, inline="always", **JIT)
def _exp256(x):  # type: ignore[no-untyped-def]
    """256^x for -1 <= x <= 0: 2^x, squared three times."""
    y = E0 + x * (E1 + x * (E2 + x * (E3 + x * (E4 + x * E5))))
    y = y * y
    y = y * y
    return y * y


@njit(fastmath=FAST, inline="always", **JIT)
def _blend_row(tile, base, u, ux, q, red, green, blue, depth, measure):  # type: ignore[no-untyped-def]
    """Blend one splat into one row. A finished pixel has a negative transmittance."""
    for k in range(U(TILE_WIDTH)):
        s = u + ux * np.float32(k)
        p = q - s * s
        alpha = min(_exp256(p), ALPHA_MAX)
        alpha = alpha if p >= LOG_ALPHA_MIN else ZERO
        before = tile[base + k]
        weight = before * alpha
        after = before - weight
        going_on = after > STOP
        weight = weight if going_on else ZERO
        tile[base + k] = after if going_on else -abs(before)
        tile[base + k + U(TILE_WIDTH)] += weight * red
        tile[base + k + U(2 * TILE_WIDTH)] += weight * green
        tile[base + k + U(3 * TILE_WIDTH)] += weight * blue
        tile[base + k + U(4 * TILE_WIDTH)] += weight * depth
        if measure:
            hit = ONE if weight > ZERO else ZERO
            above = base + k + U(PAINTED_ROW)
            below = above + U(MEASURED_ROW)
            tile[below] = tile[above] + weight
            tile[below + U(TILE_WIDTH)] = max(tile[above + U(TILE_WIDTH)], weight)
            tile[below + U(2 * TILE_WIDTH)] = tile[above + U(2 * TILE_WIDTH)] + hit
            tile[below + U(3 * TILE_WIDTH)] = tile[above + U(3 * TILE_WIDTH)] + hit * before
            tile[below + U(4 * TILE_WIDTH)] = tile[above + U(4 * TILE_WIDTH)] + weight * before


@njit(fastmath=FAST, inline="always", **JIT)
def _blend_splat(tile, splat, x0, y0, first, last, measure):  # type: ignore[no-untyped-def]
    """Blend the splat that starts at ``splat`` in the buffer into rows first..last; the tile's pixel 0 is at x0, y0."""
    ux = tile[splat + U(UX)]
    uy = tile[splat + U(UY)]
    vy = tile[splat + U(VY)]
    log_opacity = tile[splat + U(LOG_OPACITY)]
    red = tile[splat + U(RED)]
    green = tile[splat + U(GREEN)]
    blue = tile[splat + U(BLUE)]
    depth = tile[splat + U(DEPTH)]
    dy = y0 - tile[splat + U(Y)] + np.float32(first)
    ux_dx = ux * (x0 - tile[splat + U(X)])
    size = U(MEASURED_ROW if measure else PAINTED_ROW)
    for row in range(first, last):
        v = vy * dy
        _blend_row(tile, row * size, ux_dx + uy * dy, ux, log_opacity - v * v, red, green, blue, depth, measure)
        dy += ONE


@njit(fastmath=FAST, inline="always", **JIT)
def _fetch(tile, batch, splats, pairs, start, size):  # type: ignore[no-untyped-def]
    """Copy a batch of splats to ``batch`` in the buffer, so that their cache misses overlap."""
    for j in range(size):
        rank = pairs[start + j] >> U(16)
        for column in range(U(SPLAT_WIDTH)):
            tile[batch + j * U(SPLAT_WIDTH) + column] = splats[rank, column]


@njit(fastmath=FAST, inline="always", **JIT)
def _row_lives(tile, base):  # type: ignore[no-untyped-def]
    live = False
    for k in range(base, base + U(TILE_WIDTH)):
        live |= tile[k] > ZERO
    return live


@njit(fastmath=FAST, inline="always", **JIT)
def _begin_sums(tile, row):  # type: ignore[no-untyped-def]
    """No deeds yet above the first row that a splat touches."""
    base = row * U(MEASURED_ROW) + U(PAINTED_ROW)
    for k in range(base, base + U(EVALUATED * TILE_WIDTH)):
        tile[k] = ZERO


@njit(fastmath=FAST | {"reassoc", "nnan"}, **JIT)
def _take_sums(tile, row, sums, pair):  # type: ignore[no-untyped-def]
    """Add up the columns of what a splat has done above ``row``. Not inlined by numba: the sums may be taken in any order."""
    base = row * U(MEASURED_ROW) + U(PAINTED_ROW)
    weight = ZERO
    largest = ZERO
    hits = ZERO
    before = ZERO
    squared = ZERO
    for k in range(base, base + U(TILE_WIDTH)):
        weight += tile[k]
        largest = max(largest, tile[k + U(TILE_WIDTH)])
        hits += tile[k + U(2 * TILE_WIDTH)]
        before += tile[k + U(3 * TILE_WIDTH)]
        squared += tile[k + U(4 * TILE_WIDTH)]
    sums[pair, U(WEIGHT)] = weight
    sums[pair, U(WEIGHT_MAX)] = largest
    sums[pair, U(HITS)] = hits
    sums[pair, U(TRANSMITTANCE)] = before
    sums[pair, U(WEIGHT_TRANSMITTANCE)] = squared


@njit(**JIT)
def add_up(of_pairs, pairs, slots, splats, area, perspective, sums):  # type: ignore[no-untyped-def]
    """Add the sums of pairs [P, 6] to those of their Gaussians ``sums`` [N, 6], always in the same order.

    In ``sums`` the last column is the blur: weight times the area of a pixel at the Gaussian, which is ``area``, with
    ``perspective`` times the square of the depth. Returns how many pixels were evaluated.
    """
    evaluated = 0.0
    for pair in range(U(of_pairs.shape[0])):
        evaluated += of_pairs[pair, U(EVALUATED)]
        weight = np.float64(of_pairs[pair, U(WEIGHT)])
        if weight > 0.0:
            rank = pairs[pair] >> U(16)
            slot = U(slots[rank])
            depth = np.float64(splats[rank, U(DEPTH)]) if perspective else 1.0
            sums[slot, U(WEIGHT)] += weight
            sums[slot, U(WEIGHT_MAX)] = max(sums[slot, U(WEIGHT_MAX)], np.float64(of_pairs[pair, U(WEIGHT_MAX)]))
            sums[slot, U(HITS)] += of_pairs[pair, U(HITS)]
            sums[slot, U(TRANSMITTANCE)] += of_pairs[pair, U(TRANSMITTANCE)]
            sums[slot, U(WEIGHT_TRANSMITTANCE)] += of_pairs[pair, U(WEIGHT_TRANSMITTANCE)]
            sums[slot, U(BLUR)] += weight * area * depth * depth
    return evaluated


def _make_blend(measure: bool) -> Any:
    """The kernel that blends tiles; with ``measure`` it also sums up what each pair did."""
    row_size = MEASURED_ROW if measure else PAINTED_ROW
    fetched = row_size * (TILE_HEIGHT + 1)

    @njit(parallel=True, fastmath=FAST, **JIT)
    def blend(splats, offsets, pairs, tiles_x, tile_range, rgb, alpha, depth, sums):  # type: ignore[no-untyped-def]
        height, width = alpha.shape
        for number in prange(tile_range[0], tile_range[1]):
            left = (number % tiles_x) * TILE_WIDTH
            top = (number // tiles_x) * TILE_HEIGHT
            tile = np.zeros(fetched + BATCH * SPLAT_WIDTH, np.float32)
            for row in range(TILE_HEIGHT):
                for k in range(TILE_WIDTH):
                    tile[row * row_size + k] = ONE if left + k < width else -ONE
            begin = U(0)
            end = U(min(TILE_HEIGHT, height - top))
            x0 = np.float32(left + 0.5)
            y0 = np.float32(top + 0.5)
            for start in range(U(offsets[number]), U(offsets[number + 1]), U(BATCH)):
                while begin < end and not _row_lives(tile, begin * U(row_size)):
                    begin += U(1)
                while begin < end and not _row_lives(tile, (end - U(1)) * U(row_size)):
                    end -= U(1)
                if begin >= end:
                    break
                size = min(U(BATCH), U(offsets[number + 1]) - start)
                _fetch(tile, U(fetched), splats, pairs, start, size)
                for j in range(size):
                    first = max(begin, (pairs[start + j] >> U(8)) & U(255))
                    last = min(end, pairs[start + j] & U(255))
                    if measure and first < last:
                        _begin_sums(tile, first)
                    _blend_splat(tile, U(fetched) + j * U(SPLAT_WIDTH), x0, y0, first, last, measure)
                    if measure and first < last:
                        pair = start + j - U(offsets[tile_range[0]])
                        _take_sums(tile, last, sums, pair)
                        sums[pair, U(EVALUATED)] = np.float32((last - first) * U(TILE_WIDTH))
            for row in range(min(TILE_HEIGHT, height - top)):
                for column in range(min(TILE_WIDTH, width - left)):
                    k = row * row_size + column
                    covered = ONE - abs(tile[k])
                    rgb[top + row, left + column, 0] = tile[k + TILE_WIDTH]
                    rgb[top + row, left + column, 1] = tile[k + 2 * TILE_WIDTH]
                    rgb[top + row, left + column, 2] = tile[k + 3 * TILE_WIDTH]
                    alpha[top + row, left + column] = covered
                    depth[top + row, left + column] = tile[k + 4 * TILE_WIDTH] / max(covered, ALPHA_EPS)

    return blend


blend = _make_blend(False)
"""blend(splats, offsets, pairs, tiles_x, tile_range [2], rgb [H, W, 3], alpha [H, W], depth [H, W], sums [0, 6])"""

blend_and_measure = _make_blend(True)
"""The same; ``sums`` [P, 6] gets, for each pair of the tiles in range, the MEASURES."""
