# SPDX-License-Identifier: GPL-3.0-or-later
"""Numba kernel that walks a finished view front to back once more and sums up what its residuals ask of each splat.

With w = alpha T a splat's weight in a pixel and B what all splats behind it add, a change of ln(alpha) changes the pixel by
j = w c - alpha / (1 - alpha) B. B is what is left of the finished pixel once everything in front is taken off, so no
walk back to front is needed. The pixel's alpha is a fourth channel whose B is 1 - T.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .cpu_blend import ALPHA_MAX, BATCH, LOG_ALPHA_MIN, ONE, STOP, ZERO, U, _exp256, _fetch
from .cpu_order import TILE_HEIGHT, TILE_WIDTH
from .cpu_project import BLUE, FAST, GREEN, JIT, LOG_OPACITY, RED, SPLAT_WIDTH, UX, UY, VY, X, Y

PULLS = 17
W_RED, W_GREEN, W_BLUE, W_A, G, G_U, G_V, G_UU, G_UV, G_VV, E, E_U, E_V, E_UU, E_UV, E_VV, W_W = range(PULLS)
"""Sums over a splat's pixels: w r for each colour of the residual r; w times the pixel's alpha; g = r . j and its moments in the
whitened pixel (u, v); e = |j|^2 and its moments; w^2."""

PLANES = 9
"""A row of pixels: T, B (red, green, blue), residual (red, green, blue, alpha), transmittance at the end; then what the splat at
hand has summed up above it, as in ``cpu_blend``."""
KEPT = PLANES * TILE_WIDTH
ROW = (PLANES + PULLS) * TILE_WIDTH
FETCHED = ROW * (TILE_HEIGHT + 1)
BUFFER = FETCHED + BATCH * SPLAT_WIDTH
TW = TILE_WIDTH


@njit(fastmath=FAST, inline="always", **JIT)
def _pull_row(tile, base, u, ux, v, q, red, green, blue):  # type: ignore[no-untyped-def]
    """One splat in one row of pixels."""
    for k in range(U(TW)):
        s = u + ux * np.float32(k)
        p = q - s * s
        alpha = min(_exp256(p), ALPHA_MAX)
        alpha = alpha if p >= LOG_ALPHA_MIN else ZERO
        before = tile[base + k]
        after = before - before * alpha
        going_on = after > STOP
        alpha = alpha if going_on else ZERO
        weight = before * alpha
        tile[base + k] = after if going_on else -abs(before)
        odds = alpha / (ONE - alpha)
        behind_red = tile[base + k + U(TW)] - weight * red
        behind_green = tile[base + k + U(2 * TW)] - weight * green
        behind_blue = tile[base + k + U(3 * TW)] - weight * blue
        tile[base + k + U(TW)] = behind_red
        tile[base + k + U(2 * TW)] = behind_green
        tile[base + k + U(3 * TW)] = behind_blue
        r_red = tile[base + k + U(4 * TW)]
        r_green = tile[base + k + U(5 * TW)]
        r_blue = tile[base + k + U(6 * TW)]
        last = tile[base + k + U(8 * TW)]
        j_red = weight * red - odds * behind_red
        j_green = weight * green - odds * behind_green
        j_blue = weight * blue - odds * behind_blue
        j_alpha = odds * last
        g = r_red * j_red + r_green * j_green + r_blue * j_blue + tile[base + k + U(7 * TW)] * j_alpha
        e = j_red * j_red + j_green * j_green + j_blue * j_blue + j_alpha * j_alpha
        above = base + k + U(KEPT)
        below = above + U(ROW)
        gs = g * s
        es = e * s
        tile[below + U(W_RED * TW)] = tile[above + U(W_RED * TW)] + weight * r_red
        tile[below + U(W_GREEN * TW)] = tile[above + U(W_GREEN * TW)] + weight * r_green
        tile[below + U(W_BLUE * TW)] = tile[above + U(W_BLUE * TW)] + weight * r_blue
        tile[below + U(W_A * TW)] = tile[above + U(W_A * TW)] + weight * (ONE - last)
        tile[below + U(G * TW)] = tile[above + U(G * TW)] + g
        tile[below + U(G_U * TW)] = tile[above + U(G_U * TW)] + gs
        tile[below + U(G_V * TW)] = tile[above + U(G_V * TW)] + g * v
        tile[below + U(G_UU * TW)] = tile[above + U(G_UU * TW)] + gs * s
        tile[below + U(G_UV * TW)] = tile[above + U(G_UV * TW)] + gs * v
        tile[below + U(G_VV * TW)] = tile[above + U(G_VV * TW)] + g * (v * v)
        tile[below + U(E * TW)] = tile[above + U(E * TW)] + e
        tile[below + U(E_U * TW)] = tile[above + U(E_U * TW)] + es
        tile[below + U(E_V * TW)] = tile[above + U(E_V * TW)] + e * v
        tile[below + U(E_UU * TW)] = tile[above + U(E_UU * TW)] + es * s
        tile[below + U(E_UV * TW)] = tile[above + U(E_UV * TW)] + es * v
        tile[below + U(E_VV * TW)] = tile[above + U(E_VV * TW)] + e * (v * v)
        tile[below + U(W_W * TW)] = tile[above + U(W_W * TW)] + weight * weight


@njit(fastmath=FAST, inline="always", **JIT)
def _pull_splat(tile, splat, x0, y0, first, last):  # type: ignore[no-untyped-def]
    """The splat that starts at ``splat`` in the buffer, in the rows first..last; the tile's pixel 0 is at x0, y0."""
    ux = tile[splat + U(UX)]
    uy = tile[splat + U(UY)]
    vy = tile[splat + U(VY)]
    log_opacity = tile[splat + U(LOG_OPACITY)]
    dy = y0 - tile[splat + U(Y)] + np.float32(first)
    ux_dx = ux * (x0 - tile[splat + U(X)])
    for row in range(first, last):
        v = vy * dy
        u = ux_dx + uy * dy
        _pull_row(tile, row * U(ROW), u, ux, v, log_opacity - v * v, tile[splat + U(RED)], tile[splat + U(GREEN)], tile[splat + U(BLUE)])
        dy += ONE


@njit(fastmath=FAST, inline="always", **JIT)
def _fill_tile(tile, left, top, rgb, alpha, residual):  # type: ignore[no-untyped-def]
    height, width = alpha.shape
    for row in range(TILE_HEIGHT):
        for k in range(TW):
            at = row * ROW + k
            tile[at] = -ONE
            if left + k < width and top + row < height:
                tile[at] = ONE
                for c in range(3):
                    tile[at + (1 + c) * TW] = rgb[top + row, left + k, c]
                for c in range(4):
                    tile[at + (4 + c) * TW] = residual[top + row, left + k, c]
                tile[at + 8 * TW] = ONE - alpha[top + row, left + k]


@njit(fastmath=FAST | {"reassoc"}, **JIT)
def _take_sums(tile, base, sums, pair):  # type: ignore[no-untyped-def]
    """Add up the columns that a splat left below its last row. Not inlined by numba: they may be added in any order."""
    for value in range(U(PULLS)):
        total = ZERO
        for k in range(base + value * U(TW), base + value * U(TW) + U(TW)):
            total += tile[k]
        sums[pair, value] = total


@njit(parallel=True, fastmath=FAST, **JIT)
def pull(splats, offsets, pairs, tiles_x, tile_range, rgb, alpha, residual, sums):  # type: ignore[no-untyped-def]
    """Fill ``sums`` [P, 17], zero before, for the pairs of the tiles in range, from a finished image and its residual [H, W, 4]."""
    for number in prange(tile_range[0], tile_range[1]):
        left = (number % tiles_x) * TILE_WIDTH
        top = (number // tiles_x) * TILE_HEIGHT
        tile = np.zeros(BUFFER, np.float32)
        _fill_tile(tile, left, top, rgb, alpha, residual)
        end = U(min(TILE_HEIGHT, alpha.shape[0] - top))
        x0 = np.float32(left + 0.5)
        y0 = np.float32(top + 0.5)
        for start in range(U(offsets[number]), U(offsets[number + 1]), U(BATCH)):
            size = min(U(BATCH), U(offsets[number + 1]) - start)
            _fetch(tile, U(FETCHED), splats, pairs, start, size)
            for j in range(size):
                first = (pairs[start + j] >> U(8)) & U(255)
                last = min(end, pairs[start + j] & U(255))
                if first >= last:
                    continue
                for k in range(first * U(ROW) + U(KEPT), (first + U(1)) * U(ROW)):
                    tile[k] = ZERO
                _pull_splat(tile, U(FETCHED) + j * U(SPLAT_WIDTH), x0, y0, first, last)
                pair = start + j - U(offsets[tile_range[0]])
                _take_sums(tile, last * U(ROW) + U(KEPT), sums, pair)


@njit(**JIT)
def add_pulls(of_pairs, pairs, slots, sums):  # type: ignore[no-untyped-def]
    """Add the sums of pairs [P, 17] to those of their Gaussians ``sums`` [N, 17], always in the same order."""
    for pair in range(of_pairs.shape[0]):
        slot = slots[pairs[pair] >> U(16)]
        for value in range(PULLS):
            sums[slot, value] += of_pairs[pair, value]
