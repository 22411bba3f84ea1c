# SPDX-License-Identifier: GPL-3.0-or-later
"""Numba kernels of the re-fit: each Gaussian's damped equations solved by itself, and the step taken."""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from ..splats import statistics

POSITION, SHAPE, COLOUR = statistics.POSITION, statistics.SHAPE, statistics.COLOUR
POSITION_CURVATURE, SHAPE_CURVATURE = statistics.POSITION_CURVATURE, statistics.SHAPE_CURVATURE
WEIGHT, WEIGHT_SQUARED = statistics.WEIGHT, statistics.WEIGHT_SQUARED
UNKNOWNS = 10
"""Columns of a direction before the SH coefficients: a [3], then n [7]; see ``NormalEquations``."""
MAX_OVERLAP = 50.0
TRACE_DAMPING = 0.02
MIN_OPACITY, MAX_OPACITY = 1e-3, 0.995
MAX_MOVE, MAX_STRETCH, MAX_FADE = 0.5, 0.5, 0.5
SH_C0_SQUARED = 0.28209479177387814**2
CHUNK = 512


@nb.njit(cache=True, inline="always")
def _solve(matrix, values, size, count):  # type: ignore[no-untyped-def]
    """Overwrite ``values`` [size, count] with matrix^-1 values; ``matrix`` is positive definite, its lower triangle becomes the factor."""
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = math.sqrt(max(total, 1e-30)) if i == j else total / matrix[j, j]
    for c in range(count):
        for i in range(size):
            total = values[i, c]
            for k in range(i):
                total -= matrix[i, k] * values[k, c]
            values[i, c] = total / matrix[i, i]
        for i in range(size - 1, -1, -1):
            total = values[i, c]
            for k in range(i + 1, size):
                total -= matrix[k, i] * values[k, c]
            values[i, c] = total / matrix[i, i]


@nb.njit(cache=True, inline="always")
def _load(matrix, row, first, size, factor, damping):  # type: ignore[no-untyped-def]
    """The packed upper triangle at ``first``, times ``factor`` and damped."""
    trace = 0.0
    at = first
    for i in range(size):
        for j in range(i, size):
            matrix[j, i] = factor * row[at]
            at += 1
        trace += matrix[i, i]
    for i in range(size):
        matrix[i, i] += damping + TRACE_DAMPING * trace


@nb.njit(cache=True, parallel=True)
def solve_blocks(rows, bases, damping, colour_damping, ridges, direction):  # type: ignore[no-untyped-def]
    """``direction`` [N, 10 + 3 K] from ``rows`` [N, C]: a step for each Gaussian as if only its own block mattered.

    Where several Gaussians share a pixel and all take their own step, they overshoot together. sum(w A) / sum(w^2) says by how much,
    and the curvature is raised by it (for colours this is the separable surrogate of Erdogan and Fessler 1999, exactly).
    """
    count = rows.shape[0]
    for chunk in nb.prange((count + CHUNK - 1) // CHUNK):
        matrix = np.empty((max(bases, 7), max(bases, 7)))
        values = np.empty((max(bases, 7), 3))
        for i in range(chunk * CHUNK, min(count, chunk * CHUNK + CHUNK)):
            row = rows[i]
            overlap = min(max(row[WEIGHT] / max(row[WEIGHT_SQUARED], 1e-20), 1.0), MAX_OVERLAP)
            _load(matrix, row, POSITION_CURVATURE, 3, overlap, damping)
            for k in range(3):
                values[k, 0] = row[POSITION + k]
            _solve(matrix, values, 3, 1)
            for k in range(3):
                direction[i, k] = values[k, 0]
            _load(matrix, row, SHAPE_CURVATURE, 7, overlap, damping)
            for k in range(7):
                values[k, 0] = row[SHAPE + k]
            _solve(matrix, values, 7, 1)
            for k in range(7):
                direction[i, 3 + k] = values[k, 0]
            at = COLOUR + 3 * bases
            for k in range(bases):
                for j in range(k, bases):
                    matrix[j, k] = row[at]
                    at += 1
                matrix[k, k] += ridges[k] * (SH_C0_SQUARED * row[WEIGHT] + colour_damping)
                for c in range(3):
                    values[k, c] = row[COLOUR + 3 * k + c]
            _solve(matrix, values, bases, 3)
            for k in range(bases):
                for c in range(3):
                    direction[i, UNKNOWNS + 3 * k + c] = values[k, c]


@nb.njit(cache=True, inline="always")
def _shorten(vector, longest):  # type: ignore[no-untyped-def]
    """Factor that brings a vector down to a length."""
    return min(1.0, longest / max(math.sqrt((vector * vector).sum()), 1e-12))


@nb.njit(cache=True, parallel=True)
def take_step(means, factors, opacities, sh, direction, length):  # type: ignore[no-untyped-def]
    """Move everything along ``length`` times ``direction``, in place; no Gaussian goes further than MAX_MOVE and the like."""
    count, bases = sh.shape[0], sh.shape[1]
    for chunk in nb.prange((count + CHUNK - 1) // CHUNK):
        n = np.empty((3, 3))
        grown = np.empty((3, 3))
        factor = np.empty((3, 3))
        for i in range(chunk * CHUNK, min(count, chunk * CHUNK + CHUNK)):
            step = direction[i] * length
            move = step[:3] * _shorten(step[:3], MAX_MOVE)
            at = 4
            for a in range(3):
                for b in range(a, 3):
                    n[a, b] = n[b, a] = step[at]
                    at += 1
            n *= _shorten(n.ravel(), MAX_STRETCH)
            for a in range(3):
                for b in range(3):
                    grown[a, b] = 0.5 * n[a, b] + (1.0 if a == b else 0.0)
                    for c in range(3):
                        grown[a, b] += 0.125 * n[a, c] * n[c, b]
            for a in range(3):
                for b in range(3):
                    means[i, a] += factors[i, a, b] * move[b]
                    factor[a, b] = 0.0
                    for c in range(3):
                        factor[a, b] += factors[i, a, c] * grown[c, b]
            factors[i] = factor
            fade = math.exp(min(max(step[3], -MAX_FADE), MAX_FADE))
            opacities[i] = min(max(opacities[i] * fade, MIN_OPACITY), MAX_OPACITY)
            for k in range(bases):
                for c in range(3):
                    sh[i, k, c] += step[UNKNOWNS + 3 * k + c]
