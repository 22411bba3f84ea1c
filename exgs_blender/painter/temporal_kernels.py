# SPDX-License-Identifier: GPL-3.0-or-later
"""Numba kernels that bring the changes of earlier frames into a frame. ``temporal`` says what they are for."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from ..render.cpu_project import FAST, JIT

RADIUS = 2
"""Half the side of the neighbourhood, 5 x 5 pixels, whose range bounds what an earlier frame may bring in."""
CHANNELS = 4
ZERO, ONE = np.float32(0), np.float32(1)


@njit(parallel=True, fastmath=FAST, **JIT)
def range_along_rows(change, low, high):  # type: ignore[no-untyped-def]
    """Least and greatest value of each channel [H, W, 4] over the RADIUS pixels to both sides."""
    height, width = change.shape[:2]
    for y in prange(height):
        for x in range(width):
            first, last = max(x - RADIUS, 0), min(x + RADIUS, width - 1)
            for c in range(CHANNELS):
                least = greatest = change[y, x, c]
                for i in range(first, last + 1):
                    least = min(least, change[y, i, c])
                    greatest = max(greatest, change[y, i, c])
                low[y, x, c] = least
                high[y, x, c] = greatest


@njit(parallel=True, fastmath=FAST, **JIT)
def range_along_columns(row_low, row_high, low, high):  # type: ignore[no-untyped-def]
    """The same over the RADIUS rows above and below."""
    height, width = row_low.shape[:2]
    for y in prange(height):
        first, last = max(y - RADIUS, 0), min(y + RADIUS, height - 1)
        low[y] = row_low[y]
        high[y] = row_high[y]
        for i in range(first, last + 1):
            for x in range(width):
                for c in range(CHANNELS):
                    low[y, x, c] = min(low[y, x, c], row_low[i, x, c])
                    high[y, x, c] = max(high[y, x, c], row_high[i, x, c])


@njit(parallel=True, fastmath=FAST, **JIT)
def add_earlier(  # type: ignore[no-untyped-def]
    change, depth, low, high, earlier, earlier_depth, turn, shift, ortho, tolerance, factor, total, weights
):
    """Add ``factor`` times (an earlier change - the frame's own) to ``total`` [H, W, 4], and what it weighs to ``weights`` [H, W].

    Pixel (u, v) at depth z lies in the earlier frame at the quotient of q = z turn (u, v, 1) + shift (orthographic: at
    q = turn (u, v, z) + shift), q's last value being its depth there. Of the four pixels around that place those count whose depth is
    within ``tolerance`` of it.
    """
    height, width = depth.shape
    rows, columns = earlier_depth.shape
    for y in prange(height):
        v = y + 0.5
        for x in range(width):
            z = depth[y, x]
            spread = ZERO
            for c in range(CHANNELS):
                spread = max(spread, high[y, x, c] - low[y, x, c])
            if z <= ZERO or spread == ZERO:
                continue
            u = x + 0.5
            if ortho:
                px = turn[0, 0] * u + turn[0, 1] * v + turn[0, 2] * z + shift[0]
                py = turn[1, 0] * u + turn[1, 1] * v + turn[1, 2] * z + shift[1]
                there = turn[2, 0] * u + turn[2, 1] * v + turn[2, 2] * z + shift[2]
            else:
                there = z * (turn[2, 0] * u + turn[2, 1] * v + turn[2, 2]) + shift[2]
                if there <= 0.0:
                    continue
                px = (z * (turn[0, 0] * u + turn[0, 1] * v + turn[0, 2]) + shift[0]) / there
                py = (z * (turn[1, 0] * u + turn[1, 1] * v + turn[1, 2]) + shift[1]) / there
            px -= 0.5
            py -= 0.5
            if not (px > -1.0 and py > -1.0 and px < columns and py < rows):
                continue
            left, top = int(np.floor(px)), int(np.floor(py))
            along, down = np.float32(px - left), np.float32(py - top)
            allowed = np.float32(tolerance * abs(there))
            middle = np.float32(there)
            weight = red = green = blue = cover = ZERO
            for j in range(2):
                row = top + j
                if row < 0 or row >= rows:
                    continue
                share = down if j else ONE - down
                for i in range(2):
                    column = left + i
                    if column < 0 or column >= columns:
                        continue
                    found = earlier_depth[row, column]
                    if found <= ZERO or abs(found - middle) > allowed:
                        continue
                    w = share * (along if i else ONE - along)
                    weight += w
                    red += w * earlier[row, column, 0]
                    green += w * earlier[row, column, 1]
                    blue += w * earlier[row, column, 2]
                    cover += w * earlier[row, column, 3]
            if weight <= np.float32(1e-6):
                continue
            part = ONE / weight
            weight *= factor
            weights[y, x] += weight
            total[y, x, 0] += weight * (min(max(red * part, low[y, x, 0]), high[y, x, 0]) - change[y, x, 0])
            total[y, x, 1] += weight * (min(max(green * part, low[y, x, 1]), high[y, x, 1]) - change[y, x, 1])
            total[y, x, 2] += weight * (min(max(blue * part, low[y, x, 2]), high[y, x, 2]) - change[y, x, 2])
            total[y, x, 3] += weight * (min(max(cover * part, low[y, x, 3]), high[y, x, 3]) - change[y, x, 3])


@njit(parallel=True, fastmath=FAST, **JIT)
def apply(rgb, alpha, restored_rgb, restored_alpha, total, weights, out_rgb, out_alpha):  # type: ignore[no-untyped-def]
    """Restored frame + total / (1 + weights), premultiplied as the painter keeps it; its own bits where nothing was added."""
    height, width = alpha.shape
    for y in prange(height):
        for x in range(width):
            scale = ONE / (ONE + weights[y, x])
            limit = restored_alpha[y, x]
            if total[y, x, 3] != ZERO:
                limit = min(max(limit + scale * total[y, x, 3], ZERO), ONE)
            out_alpha[y, x] = limit
            for c in range(3):
                value = restored_rgb[y, x, c]
                if total[y, x, c] != ZERO or limit != restored_alpha[y, x]:
                    value = min(max(value + scale * total[y, x, c], ZERO), max(limit, rgb[y, x, c]))
                out_rgb[y, x, c] = value
