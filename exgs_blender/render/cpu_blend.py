# SPDX-License-Identifier: GPL-3.0-or-later
"""Numba kernels that blend the splats of each tile front to back.

The loop over the 16 pixels of a row is the hot one and must become vector code: it has a constant length, no branches
(selects only), unsigned indices and one flat float32 buffer, so that nothing can alias.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from . import constants
from .cpu_order import TILE_HEIGHT, TILE_WIDTH
from .cpu_project import BLUE, DEPTH, FAST, GREEN, JIT, LOG_OPACITY, RED, UX, UY, VY, X, Y

PIXELS = TILE_WIDTH * TILE_HEIGHT
T_PLANE, R_PLANE, G_PLANE, B_PLANE, D_PLANE, SUMS = (plane * PIXELS for plane in range(6))
MEASURES = 5
PLANES = 5 * PIXELS + MEASURES * TILE_WIDTH
BATCH = 16
"""Splats after which a tile looks for rows that are finished."""

LOG_ALPHA_MIN = np.float32(math.log2(constants.ALPHA_MIN))
ALPHA_MAX = np.float32(constants.ALPHA_MAX)
STOP = np.float32(constants.TRANSMITTANCE_STOP)
ALPHA_EPS = constants.ALPHA_EPS
ONE = np.float32(1.0)
ZERO = np.float32(0.0)
LOWEST = np.float32(-8.0)
EIGHTH = np.float32(0.125)
P0, P1, P2, P3, P4, P5, P6 = (np.float32(math.log(2.0) ** k / math.factorial(k)) for k in range(7))
U = np.uint64


@njit(fastmath=FAST, inline="always", **JIT)
def _exp2(p):  # type: ignore[no-untyped-def]
    """2^p for -8 <= p <= 0: a polynomial for 2^(p / 8), squared three times."""
    x = p * EIGHTH
    y = P0 + x * (P1 + x * (P2 + x * (P3 + x * (P4 + x * (P5 + x * P6)))))
    y = y * y
    y = y * y
    return y * y


@njit(fastmath=FAST, inline="always", **JIT)
def _blend_row(tile, base, u, ux, q, red, green, blue, depth, measure):  # type: ignore[no-untyped-def]
    """Blend one splat into one row. A finished pixel has a negative transmittance."""
    for k in range(U(TILE_WIDTH)):
        s = u + ux * np.float32(k)
        p = q - s * s
        alpha = min(_exp2(max(p, LOWEST)), ALPHA_MAX)
        alpha = alpha if p >= LOG_ALPHA_MIN else ZERO
        before = tile[base + k]
        after = before - before * alpha
        weight = before * alpha
        going_on = after > STOP
        weight = weight if going_on else ZERO
        tile[base + k] = after if going_on else -abs(before)
        tile[base + k + U(R_PLANE)] += weight * red
        tile[base + k + U(G_PLANE)] += weight * green
        tile[base + k + U(B_PLANE)] += weight * blue
        tile[base + k + U(D_PLANE)] += weight * depth
        if measure:
            hit = ONE if weight > ZERO else ZERO
            tile[k + U(SUMS)] += weight
            tile[k + U(SUMS + TILE_WIDTH)] = max(tile[k + U(SUMS + TILE_WIDTH)], weight)
            tile[k + U(SUMS + 2 * TILE_WIDTH)] += hit
            tile[k + U(SUMS + 3 * TILE_WIDTH)] += hit * before
            tile[k + U(SUMS + 4 * TILE_WIDTH)] += weight * before


@njit(fastmath=FAST, inline="always", **JIT)
def _take_sums(tile, sums, pair):  # type: ignore[no-untyped-def]
    """Move the sums that one splat left, one for each column of the tile, to its row of ``sums``."""
    for value in range(U(MEASURES)):
        total = ZERO
        for k in range(U(SUMS) + value * U(TILE_WIDTH), U(SUMS) + value * U(TILE_WIDTH) + U(TILE_WIDTH)):
            total = max(total, tile[k]) if value == U(1) else total + tile[k]
            tile[k] = ZERO
        sums[pair, value] = total


@njit(fastmath=FAST, inline="always", **JIT)
def _live_rows(tile, first, last):  # type: ignore[no-untyped-def]
    """Shrink first..last to the rows that still have an unfinished pixel at both ends."""
    while first < last:
        highest = tile[first * U(TILE_WIDTH)]
        for k in range(U(TILE_WIDTH)):
            highest = max(highest, tile[first * U(TILE_WIDTH) + k])
        if highest > ZERO:
            break
        first += U(1)
    while first < last:
        highest = tile[(last - U(1)) * U(TILE_WIDTH)]
        for k in range(U(TILE_WIDTH)):
            highest = max(highest, tile[(last - U(1)) * U(TILE_WIDTH) + k])
        if highest > ZERO:
            break
        last -= U(1)
    return first, last


@njit(**JIT)
def add_up(of_pairs, ranks, slots, sums):  # type: ignore[no-untyped-def]
    """Add the sums of pairs [P, 5] to those of their Gaussians ``sums`` [N, 5], always in the same order."""
    for pair in range(of_pairs.shape[0]):
        slot = slots[ranks[pair]]
        for value in range(MEASURES):
            if value == 1:
                sums[slot, 1] = max(sums[slot, 1], of_pairs[pair, 1])
            else:
                sums[slot, value] += of_pairs[pair, value]


def _make_blend(measure: bool) -> Any:
    """The kernel that blends tiles; with ``measure`` it also sums up what each pair did."""

    @njit(parallel=True, fastmath=FAST, **JIT)
    def blend(splats, offsets, ranks, rows, tiles_x, tile_range, rgb, alpha, depth, sums):  # type: ignore[no-untyped-def]
        height, width = alpha.shape
        for number in prange(tile_range[0], tile_range[1]):
            left = (number % tiles_x) * TILE_WIDTH
            top = (number // tiles_x) * TILE_HEIGHT
            tile = np.zeros(PLANES, np.float32)
            for k in range(PIXELS):
                tile[k] = ONE if left + k % TILE_WIDTH < width else -ONE
            begin = U(0)
            end = U(min(TILE_HEIGHT, height - top))
            x0 = np.float32(left + 0.5)
            y0 = np.float32(top + 0.5)
            for pair in range(offsets[number], offsets[number + 1]):
                if (pair - offsets[number]) % BATCH == BATCH - 1:
                    begin, end = _live_rows(tile, begin, end)
                    if begin >= end:
                        break
                splat = splats[ranks[pair]]
                first = max(begin, U(rows[pair, 0]))
                last = min(end, U(rows[pair, 1]))
                ux = splat[UX]
                dx = x0 - splat[X]
                dy = y0 - splat[Y] + np.float32(first)
                for row in range(first, last):
                    v = splat[VY] * dy
                    u = ux * dx + splat[UY] * dy
                    base = row * U(TILE_WIDTH)
                    _blend_row(tile, base, u, ux, splat[LOG_OPACITY] - v * v, splat[RED], splat[GREEN], splat[BLUE], splat[DEPTH], measure)
                    dy += ONE
                if measure:
                    _take_sums(tile, sums, U(pair - offsets[tile_range[0]]))
            for row in range(min(TILE_HEIGHT, height - top)):
                for column in range(min(TILE_WIDTH, width - left)):
                    k = row * TILE_WIDTH + column
                    covered = ONE - abs(tile[k])
                    rgb[top + row, left + column, 0] = tile[k + R_PLANE]
                    rgb[top + row, left + column, 1] = tile[k + G_PLANE]
                    rgb[top + row, left + column, 2] = tile[k + B_PLANE]
                    alpha[top + row, left + column] = covered
                    depth[top + row, left + column] = tile[k + D_PLANE] / max(covered, ALPHA_EPS)

    return blend


blend = _make_blend(False)
"""blend(splats, offsets, ranks, rows, tiles_x, tile_range [2], rgb [H, W, 3], alpha [H, W], depth [H, W], sums [0, 5])"""

blend_and_measure = _make_blend(True)
"""The same; ``sums`` [P, 5] gets, for each pair of the tiles in range, weight, largest weight, hits, T and weight * T."""
