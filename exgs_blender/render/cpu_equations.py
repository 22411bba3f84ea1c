# SPDX-License-Identifier: GPL-3.0-or-later
"""Numba kernel that carries a view's image-space sums (``cpu_residual``) into each Gaussian's own whitened coordinates.

With y the whitened pixel (y'y = -ln(alpha / opacity) / ln 256), F the covariance's factor and M the projection's derivative,
t = F' M' W' y / K is the same pixel seen in the Gaussian's coordinates (K = 1 / (2 ln 256), W the splat's UX, UY, VY), and

    d(ln alpha) / da = t,    d(ln alpha) / dN = t t' / 2,    d(ln alpha) / dn_o = 1.

Moments of y give those of t; the fourth moments that the curvature of N needs are taken as those of a normal distribution.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from ..splats import statistics
from .cpu_project import FAST, HALF_LOG256E, JIT, MARGIN, RED, UX, UY, VY, fill_basis
from .cpu_residual import E_UU, E_UV, E_VV, G_U, G_UU, G_UV, G_V, G_VV, W_A, W_RED, W_W, E, G

RANKS = 1024
"""Splats that one task takes."""
POSITION = statistics.POSITION
POSITION_CURVATURE = statistics.POSITION_CURVATURE
SHAPE = statistics.SHAPE
SHAPE_CURVATURE = statistics.SHAPE_CURVATURE
WEIGHT = statistics.WEIGHT
WEIGHT_SQUARED = statistics.WEIGHT_SQUARED
COLOUR = statistics.COLOUR


@njit(fastmath=FAST, inline="always", **JIT)
def _carry(q, mean, factor, viewmat, K, size, ortho, ux, uy, vy):  # type: ignore[no-untyped-def]
    """q [2, 3] = W M F / K of one splat; M as in ``cpu_project.project``."""
    fx = K[0, 0]
    fy = K[1, 1]
    jx = fx
    jy = fy
    jxz = 0.0
    jyz = 0.0
    if not ortho:
        x = viewmat[0, 0] * mean[0] + viewmat[0, 1] * mean[1] + viewmat[0, 2] * mean[2] + viewmat[0, 3]
        y = viewmat[1, 0] * mean[0] + viewmat[1, 1] * mean[1] + viewmat[1, 2] * mean[2] + viewmat[1, 3]
        z = viewmat[2, 0] * mean[0] + viewmat[2, 1] * mean[1] + viewmat[2, 2] * mean[2] + viewmat[2, 3]
        beyond_x = 0.5 * size[0] / fx * MARGIN
        beyond_y = 0.5 * size[1] / fy * MARGIN
        jx = fx / z
        jy = fy / z
        jxz = -jx * min((size[0] - K[0, 2]) / fx + beyond_x, max(-(K[0, 2] / fx + beyond_x), x / z))
        jyz = -jy * min((size[1] - K[1, 2]) / fy + beyond_y, max(-(K[1, 2] / fy + beyond_y), y / z))
    for c in range(3):
        across = 0.0
        down = 0.0
        for d in range(3):
            across += (jx * viewmat[0, d] + jxz * viewmat[2, d]) * factor[d, c]
            down += (jy * viewmat[1, d] + jyz * viewmat[2, d]) * factor[d, c]
        q[0, c] = (ux * across + uy * down) / HALF_LOG256E
        q[1, c] = vy * down / HALF_LOG256E


@njit(fastmath=FAST, inline="always", **JIT)
def _add_geometry(row, sums, q, t):  # type: ignore[no-untyped-def]
    """Position, shape and opacity. ``t`` [3, 3] is room for the second moments of the pixels in the Gaussian's coordinates."""
    for c in range(3):
        row[POSITION + c] += q[0, c] * sums[G_U] + q[1, c] * sums[G_V]
    row[SHAPE] += sums[G]
    row[SHAPE_CURVATURE] += sums[E]
    k = 0
    for a in range(3):
        for b in range(a, 3):
            uu = q[0, a] * q[0, b]
            uv = q[0, a] * q[1, b] + q[1, a] * q[0, b]
            vv = q[1, a] * q[1, b]
            t[a, b] = uu * sums[E_UU] + uv * sums[E_UV] + vv * sums[E_VV]
            t[b, a] = t[a, b]
            twice = 0.5 if a == b else 1.0
            row[POSITION_CURVATURE + k] += t[a, b]
            row[SHAPE + 1 + k] += twice * (uu * sums[G_UU] + uv * sums[G_UV] + vv * sums[G_VV])
            row[SHAPE_CURVATURE + 1 + k] += twice * t[a, b]
            k += 1
    inverse = 1.0 / max(sums[E], 1e-30)
    at = SHAPE_CURVATURE + 7
    for a in range(3):
        for b in range(a, 3):
            first = 0.5 if a == b else 1.0
            for c in range(a, 3):
                for d in range(c if c > a else b, 3):
                    both = first * (0.5 if c == d else 1.0) * inverse
                    row[at] += both * (t[a, b] * t[c, d] + t[a, c] * t[b, d] + t[a, d] * t[b, c])
                    at += 1


@njit(fastmath=FAST, inline="always", **JIT)
def _add_colour(row, sums, basis, bases, colour):  # type: ignore[no-untyped-def]
    """SH coefficients. A channel that is cut off at black is not asked to grow darker."""
    row[WEIGHT] += sums[W_A]
    row[WEIGHT_SQUARED] += sums[W_W]
    for c in range(3):
        wanted = sums[W_RED + c]
        if colour[c] > 0.0 or wanted > 0.0:
            for k in range(bases):
                row[COLOUR + 3 * k + c] += basis[k] * wanted
    at = COLOUR + 3 * bases
    for k in range(bases):
        scaled = basis[k] * sums[W_A]
        for other in range(k, bases):
            row[at] += scaled * basis[other]
            at += 1


@njit(parallel=True, fastmath=FAST, **JIT)
def add_equations(splats, slots, sums, means, factors, viewmat, K, size, ortho, towards, offset, bases, rows):  # type: ignore[no-untyped-def]
    """Add one view to ``rows`` [N, C], the columns of ``NormalEquations``.

    ``sums`` [N, 17] of the view; ``splats``, ``slots`` of its visible ones; SH along towards * mean + offset.
    """
    count = slots.shape[0]
    for chunk in prange((count + RANKS - 1) // RANKS):
        basis = np.empty(25, np.float32)
        q = np.empty((2, 3))
        t = np.empty((3, 3))
        for rank in range(chunk * RANKS, min(count, chunk * RANKS + RANKS)):
            i = slots[rank]
            if sums[i, W_A] <= 0.0:
                continue
            _carry(q, means[i], factors[i], viewmat, K, size, ortho, splats[rank, UX], splats[rank, UY], splats[rank, VY])
            _add_geometry(rows[i], sums[i], q, t)
            x = towards * means[i, 0] + offset[0]
            y = towards * means[i, 1] + offset[1]
            z = towards * means[i, 2] + offset[2]
            norm = 1.0 / max(math.sqrt(x * x + y * y + z * z), 1e-30)
            fill_basis(basis, bases, np.float32(x * norm), np.float32(y * norm), np.float32(z * norm))
            _add_colour(rows[i], sums[i], basis, bases, splats[rank, RED : RED + 3])
