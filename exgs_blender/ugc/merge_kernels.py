# SPDX-License-Identifier: GPL-3.0-or-later
"""The compiled loops of ``merge``: nearest neighbours (k-d tree), pair costs, greedy matching. Imported lazily: needs numba."""

from __future__ import annotations

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from ..splats.gaussians import F32

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

LEAF = 8
MAX_OPACITY = 0.995
# Columns of the per-Gaussian table [N, COLUMNS] of float64.
X, Y, Z, XX, XY, XZ, YY, YZ, ZZ, MASS, OPACITY, SEEN, BLUR, RED, GREEN, BLUE = range(16)
COLUMNS = 16


@nb.njit(cache=True, inline="always")
def splat_area(xx, xy, xz, yy, yz, zz, blur):  # type: ignore[no-untyped-def]
    """sqrt(tr adj(S + blur I) / 3): the product of standard deviations of the shadow, averaged over the axes."""
    xx, yy, zz = xx + blur, yy + blur, zz + blur
    return math.sqrt(max((xx * yy - xy * xy + xx * zz - xz * xz + yy * zz - yz * yz) / 3.0, 1e-60))


@nb.njit(cache=True)
def _select(points, order, low, high, middle, axis):  # type: ignore[no-untyped-def]
    """Quickselect: order[middle] gets the point that belongs there along ``axis``; smaller ones before, larger after."""
    left, right = low, high - 1
    while left < right:
        pivot = points[order[(left + right) >> 1], axis]
        i, j = left, right
        while i <= j:
            while points[order[i], axis] < pivot:
                i += 1
            while points[order[j], axis] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            right = j
        elif middle >= i:
            left = i
        else:
            return


@nb.njit(cache=True)
def _split_node(points, order, low, high):  # type: ignore[no-untyped-def]
    """Halve order[low:high] along its longest side; returns (axis, value)."""
    axis, longest = 0, -1.0
    for a in range(3):
        first, last = points[order[low], a], points[order[low], a]
        for i in range(low + 1, high):
            v = points[order[i], a]
            first, last = min(first, v), max(last, v)
        if last - first > longest:
            axis, longest = a, last - first
    middle = (low + high) >> 1
    _select(points, order, low, high, middle, axis)
    return axis, points[order[middle], axis]


@nb.njit(cache=True, parallel=True)
def build_tree(points: F32, levels: int) -> tuple[I32, NDArray[np.int8], F32]:
    """A balanced k-d tree: (order [N], split axis and value of the 2^levels - 1 inner nodes in heap order).

    Node ranges need not be stored: every node halves its range at (low + high) >> 1.
    """
    n = len(points)
    order = np.arange(n).astype(np.int32)
    axes = np.zeros(1 << levels, np.int8)
    values = np.zeros(1 << levels, np.float32)
    bounds = np.zeros((1 << (levels + 1), 2), np.int64)
    bounds[1, 0], bounds[1, 1] = 0, n
    for level in range(levels):
        for k in nb.prange(1 << level):
            node = (1 << level) + k
            low, high = bounds[node, 0], bounds[node, 1]
            axis, value = _split_node(points, order, low, high)
            axes[node], values[node] = axis, value
            middle = (low + high) >> 1
            bounds[2 * node, 0], bounds[2 * node, 1] = low, middle
            bounds[2 * node + 1, 0], bounds[2 * node + 1, 1] = middle, high
    return order, axes, values


@nb.njit(cache=True, parallel=True)
def neighbours(points: F32, axes: NDArray[np.int8], values: F32, levels: int, k: int) -> I32:
    """[N, k] nearest other points (ascending distance; -1 where there are fewer) of points in tree order."""
    n = len(points)
    found = np.full((n, k), -1, np.int32)
    chunk = 512
    for part in nb.prange((n + chunk - 1) // chunk):
        best = np.empty(k, np.float32)
        stack = np.empty((64, 3), np.int64)
        stack_gap = np.empty(64, np.float32)
        for i in range(part * chunk, min(n, (part + 1) * chunk)):
            best[:] = np.inf
            px, py, pz = points[i, 0], points[i, 1], points[i, 2]
            top = 0
            stack[0, 0], stack[0, 1], stack[0, 2] = 1, 0, n
            stack_gap[0] = 0.0
            while top >= 0:
                node, low, high, gap = stack[top, 0], stack[top, 1], stack[top, 2], stack_gap[top]
                top -= 1
                if gap >= best[k - 1]:
                    continue
                while node < (1 << levels):
                    axis = axes[node]
                    away = (px if axis == 0 else (py if axis == 1 else pz)) - values[node]
                    middle = (low + high) >> 1
                    top += 1
                    stack_gap[top] = max(gap, away * away)
                    if away < 0:
                        stack[top, 0], stack[top, 1], stack[top, 2] = 2 * node + 1, middle, high
                        node, high = 2 * node, middle
                    else:
                        stack[top, 0], stack[top, 1], stack[top, 2] = 2 * node, low, middle
                        node, low = 2 * node + 1, middle
                for j in range(low, high):
                    dx, dy, dz = points[j, 0] - px, points[j, 1] - py, points[j, 2] - pz
                    d = dx * dx + dy * dy + dz * dz
                    if d < best[k - 1] and j != i:
                        at = k - 1
                        while at > 0 and best[at - 1] > d:
                            best[at] = best[at - 1]
                            found[i, at] = found[i, at - 1]
                            at -= 1
                        best[at] = d
                        found[i, at] = j
    return found


@nb.njit(cache=True, inline="always")
def merge_pair(a, b, m):  # type: ignore[no-untyped-def]
    """Moment matching of two rows with MASS as weight, into row ``m``. Optical depth times area is conserved."""
    mass = a[MASS] + b[MASS]
    wa = a[MASS] / mass
    wb = 1.0 - wa
    dx, dy, dz = b[X] - a[X], b[Y] - a[Y], b[Z] - a[Z]
    m[X], m[Y], m[Z] = a[X] + wb * dx, a[Y] + wb * dy, a[Z] + wb * dz
    spread = wa * wb
    m[XX] = wa * a[XX] + wb * b[XX] + spread * dx * dx
    m[XY] = wa * a[XY] + wb * b[XY] + spread * dx * dy
    m[XZ] = wa * a[XZ] + wb * b[XZ] + spread * dx * dz
    m[YY] = wa * a[YY] + wb * b[YY] + spread * dy * dy
    m[YZ] = wa * a[YZ] + wb * b[YZ] + spread * dy * dz
    m[ZZ] = wa * a[ZZ] + wb * b[ZZ] + spread * dz * dz
    for c in (SEEN, BLUR, RED, GREEN, BLUE):
        m[c] = wa * a[c] + wb * b[c]
    m[MASS] = mass
    depth = -math.log(1.0 - min(a[OPACITY], MAX_OPACITY)) * splat_area(a[XX], a[XY], a[XZ], a[YY], a[YZ], a[ZZ], a[BLUR])
    depth -= math.log(1.0 - min(b[OPACITY], MAX_OPACITY)) * splat_area(b[XX], b[XY], b[XZ], b[YY], b[YZ], b[ZZ], b[BLUR])
    depth /= splat_area(m[XX], m[XY], m[XZ], m[YY], m[YZ], m[ZZ], m[BLUR])
    m[OPACITY] = min(1.0 - math.exp(-depth), MAX_OPACITY)


@nb.njit(cache=True, inline="always")
def _overlap_2d(a, b, i, j, ii, ij, jj, blur):  # type: ignore[no-untyped-def]
    """Integral of the product of two unit-height 2D Gaussians: the (i, j) shadows of rows a and b."""
    a11, a12, a22 = a[ii] + a[BLUR], a[ij], a[jj] + a[BLUR]
    b11, b12, b22 = b[ii] + b[BLUR], b[ij], b[jj] + b[BLUR]
    s11, s12, s22 = a11 + b11, a12 + b12, a22 + b22
    det = max(s11 * s22 - s12 * s12, 1e-60)
    dets = max(a11 * a22 - a12 * a12, 0.0) * max(b11 * b22 - b12 * b12, 0.0)
    dx, dy = a[i] - b[i], a[j] - b[j]
    exponent = 0.5 * (s22 * dx * dx - 2.0 * s12 * dx * dy + s11 * dy * dy) / det
    return math.sqrt(dets / det) * math.exp(-min(exponent, 700.0))


@nb.njit(cache=True, inline="always")
def _product(a, b):  # type: ignore[no-untyped-def]
    """Inner product of two splats' images (RGB with weight 3 and alpha), summed over the three axis-aligned shadows."""
    shadows = _overlap_2d(a, b, X, Y, XX, XY, YY, 0.0) + _overlap_2d(a, b, X, Z, XX, XZ, ZZ, 0.0) + _overlap_2d(a, b, Y, Z, YY, YZ, ZZ, 0.0)
    colour = 1.0 + 3.0 * (a[RED] * b[RED] + a[GREEN] * b[GREEN] + a[BLUE] * b[BLUE])
    return a[SEEN] * b[SEEN] * a[OPACITY] * b[OPACITY] * colour * shadows


@nb.njit(cache=True, parallel=True)
def pair_costs(table: F64, near: I32) -> F32:
    """[N, k] image-space squared error of merging row i with near[i, k]; inf for a pair that the other row lists."""
    n, k = near.shape
    costs = np.full((n, k), np.inf, np.float32)
    chunk = 512
    for part in nb.prange((n + chunk - 1) // chunk):
        m = np.empty(COLUMNS)
        for i in range(part * chunk, min(n, (part + 1) * chunk)):
            self_i = _product(table[i], table[i])
            for e in range(k):
                j = near[i, e]
                if j < 0:
                    continue
                listed = False
                if j < i:
                    for other in range(k):
                        listed |= near[j, other] == i
                if listed:
                    continue
                merge_pair(table[i], table[j], m)
                error = self_i + _product(table[j], table[j]) + _product(m, m) + 2.0 * _product(table[i], table[j])
                error -= 2.0 * (_product(table[i], m) + _product(table[j], m))
                costs[i, e] = max(error, 0.0)
    return costs


@nb.njit(cache=True)
def match(order: NDArray[np.int64], near: I32, limit: int) -> I32:
    """Greedy disjoint pairs [P <= limit, 2] in the order of the edges (flat indices into ``near``)."""
    n, k = near.shape
    taken = np.zeros(n, np.bool_)
    pairs = np.empty((limit, 2), np.int32)
    count = 0
    for edge in order:
        if count == limit:
            break
        i = edge // k
        j = near[i, edge - i * k]
        if taken[i] or taken[j]:
            continue
        taken[i] = taken[j] = True
        pairs[count, 0], pairs[count, 1] = i, j
        count += 1
    return pairs[:count]


@nb.njit(cache=True, parallel=True)
def merge_rows(table: F64, pairs: I32) -> None:
    """Merge each pair into its first row, in place."""
    for p in nb.prange(len(pairs)):
        i, j = pairs[p, 0], pairs[p, 1]
        m = np.empty(COLUMNS)
        merge_pair(table[i], table[j], m)
        table[i] = m


@nb.njit(cache=True)
def add_colours(sh0: F32, shN: F32, rows: I32, masses: F64, totals: F64, sh: F32) -> None:
    """Add to ``sh`` [M, K, 3] the mass-weighted mean of the coefficients [N, 1, 3] and [N, K - 1, 3] that went into each row."""
    for i in range(len(rows)):
        row = rows[i]
        if row < 0:
            continue
        share = np.float32(masses[i] / totals[row])
        for c in range(3):
            sh[row, 0, c] += share * sh0[i, 0, c]
        for k in range(shN.shape[1]):
            for c in range(3):
                sh[row, k + 1, c] += share * shN[i, k, c]
