# SPDX-License-Identifier: GPL-3.0-or-later
"""The affine map that takes points to others with the least squares, also where they lie in a plane or on a line."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

ROUNDING = 2.0**-24
"""Of a float32 number, relative."""
SPANNED = 1000
"""Points span a direction if it is measured this much better than the numbers are rounded: reach times the root of their number."""
THICK = 16
"""And if they reach more than so many roundings of the old positions into it; less is a plane or a line that lies askew."""
FLATTEST = 1e-4
"""A map that flattens space is taken to keep this share of the largest stretch, so that splats become discs and stay splats."""


@dataclass(frozen=True, eq=False)
class AffineMap:
    """now = linear @ (rest - source) + target, fitted so well that ``linear`` errs by ``error`` (relative) at most."""

    linear: F64
    source: F64
    target: F64
    error: float = 0.0

    def miss(self, rest: F64, now: F64) -> F64:
        """[N] distances of points from where the map puts them."""
        with np.errstate(invalid="ignore", over="ignore"):
            off = (rest - self.source) @ self.linear.T
            off += self.target
            off -= now
            found: F64 = np.sqrt(np.einsum("ij,ij->i", off, off))
        return found


def magnitude(rest: F64, now: F64) -> float:
    """Size of the numbers, in units of ``now``, that were rounded on the way."""
    scale = extent(now) / max(extent(rest), 1e-30)
    return max(_largest(now), _largest(rest) * min(scale, 1e6))


def extent(points: F64) -> float:
    """Root mean square distance of points [N, 3] from their middle."""
    middle, flat = points.mean(axis=0), points.reshape(-1)
    return float(np.sqrt(max(flat @ flat / len(points) - middle @ middle, 0.0)))


def _largest(values: F64) -> float:
    return float(max(values.max(), -values.min()))


def fit_affine(rest: F64, now: F64) -> tuple[AffineMap, int]:
    """The affine map with the least squares, and how many directions the points span."""
    source, target = rest.mean(axis=0), now.mean(axis=0)
    old, new = rest - source, now - target
    values, vectors = np.linalg.eigh(old.T @ old)
    scale = max(extent(now), 1e-30) / max(extent(rest), 1e-30)
    rounded = ROUNDING * magnitude(rest, now) / scale
    spanned = values > np.maximum((SPANNED * rounded) ** 2, len(rest) * (THICK * ROUNDING * _largest(rest)) ** 2)
    axes = vectors[:, spanned]
    images = (new.T @ old) @ axes / values[spanned]
    linear = _completed(axes, images)
    fitted = AffineMap(linear, source, target)
    if not spanned.any():
        return fitted, 0
    typical = max(float(np.sqrt(np.square(fitted.miss(rest, now)).mean())) / scale, rounded)
    error = 4 * typical / float(np.sqrt(values[spanned].min()))
    return replace(fitted, error=error), int(spanned.sum())


def _completed(axes: F64, images: F64) -> F64:
    """The linear map [3, 3] that takes ``axes`` [3, R] (orthonormal columns) to ``images`` [3, R] and treats other directions alike."""
    if axes.shape[1] == 3:
        linear: F64 = images @ axes.T
        return linear
    if axes.shape[1] == 2:
        normal = np.cross(images[:, 0], images[:, 1])
        area = float(np.linalg.norm(normal))
        if area > 0:
            full = np.c_[axes, np.cross(axes[:, 0], axes[:, 1])]
            return np.c_[images, normal / np.sqrt(area)] @ full.T
    length = float(np.linalg.norm(images[:, 0])) if axes.shape[1] == 1 else 0.0
    if length > 0:
        return length * _smallest_turn(axes[:, 0], images[:, 0] / length)
    return np.eye(3)


def _smallest_turn(first: F64, second: F64) -> F64:
    """The rotation by the smallest angle from one unit vector to another: two mirrorings."""
    half = first + second
    if half @ half < 1e-12:  # half a turn, about any axis across
        half = np.cross(first, np.eye(3)[np.argmin(np.abs(first))])
    half = half / np.linalg.norm(half)
    turned: F64 = (2 * np.outer(half, half) - np.eye(3)) @ (2 * np.outer(first, first) - np.eye(3))
    return turned


def snapped(found: AffineMap) -> F64:
    """The linear part without what its error may have added: exactly even, exactly none, never flat."""
    left, stretch, right = np.linalg.svd(found.linear)
    if not stretch[0] > 1e-12:
        return np.eye(3)
    slack = min(max(1e-6, found.error), 0.01) * stretch[0]
    if stretch[0] - stretch[2] <= slack:
        stretch[:] = stretch.mean()
    linear: F64 = (left * np.maximum(stretch, FLATTEST * stretch[0])) @ right
    return np.eye(3) if np.abs(linear - np.eye(3)).max() <= slack else linear
