# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations of ellipsoids as the smallest Rodrigues vector, and how precisely each of its components must be kept."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..splats.activation import unit_quats
from ..splats.gaussians import F32

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

FIRST, SECOND = [1, 0, 0], [2, 2, 1]
"""The two axes that a rotation about each axis turns into each other."""
ROUND = 0.25
"""Keeps the step of a sphere, whose rotation nobody sees, finite: twice ``steps.rotation``."""


def canonical_rotations(quats: F32, log_scales: F32) -> tuple[F64, F64]:
    """(Rodrigues vectors [N, 3], log-scales [N, 3]) of the same ellipsoids, with the smallest rotation.

    The axes of an ellipsoid may be relabelled in 24 ways (the rotations of a cube) if the scales go along. The smallest
    rotation has every component of tan(angle / 2) * axis within sqrt(2) - 1, which saves log2(24) bits.
    """
    group, permutations = _cube_group()
    unit = unit_quats(quats).astype(np.float64)
    conjugate = group * np.array([1.0, -1.0, -1.0, -1.0])
    best = np.argmax(np.abs(unit @ conjugate.T), axis=1)  # real part of q * g
    turned = _multiply(unit, group[best])
    vector = turned[:, 1:] / turned[:, :1]
    return vector, np.take_along_axis(log_scales.astype(np.float64), permutations[best], axis=1)


def rotation_steps(scales: NDArray[np.integer[Any]], scale_step: float, pixel: float, step: float) -> F32:
    """[N, 3] rounding steps of Rodrigues vectors, from rounded log-scales [N, 3].

    A turn about an axis moves the image by how unlike the other two extents are, each widened by ``pixel`` (scene units):
    step / sqrt((a / b - b / a)^2 + ROUND).
    """
    if len(scales) == 0:
        return np.zeros((0, 3), np.float32)
    extents, lowest = widened_extents(scales, scale_step, pixel)
    extent = extents[scales - lowest]
    steps = np.empty(scales.shape, np.float32)
    for axis in range(3):
        ratio = extent[:, FIRST[axis]] / extent[:, SECOND[axis]]
        steps[:, axis] = np.float32(step) / np.sqrt(np.square(ratio - 1 / ratio) + np.float32(ROUND))
    return steps


def widened_extents(scales: NDArray[np.integer[Any]], scale_step: float, pixel: float) -> tuple[F32, int]:
    """(Standard deviations widened by ``pixel``, by log-scale integer from the least of ``scales`` on; that integer)."""
    lowest = int(scales.min())
    values = np.arange(lowest, int(scales.max()) + 1) * scale_step
    return np.hypot(np.exp(np.clip(values, -80.0, 41.0)), pixel).astype(np.float32), lowest


def quats_from_rodrigues(vectors: F32) -> F32:
    """[N, 3] -> [N, 4] wxyz of unit length: (1, v) normalised."""
    quats = np.empty((len(vectors), 4), np.float32)
    quats[:, 0] = 1 / np.sqrt(1 + np.einsum("ni,ni->n", vectors, vectors))
    quats[:, 1:] = vectors * quats[:, :1]
    return quats


@cache
def _cube_group() -> tuple[F64, I64]:
    """The 24 rotations of a cube as quaternions [24, 4], and which old axis each new axis is [24, 3]."""
    found: list[F64] = []
    for entries in product((-1.0, 0.0, 1.0), repeat=4):
        q = np.array(entries)
        norm2 = float(q @ q)
        if norm2 in (1.0, 2.0, 4.0) and all(abs(float(q @ other)) / np.sqrt(norm2) < 0.999 for other in found):
            found.append(q / np.sqrt(norm2))
    group = np.array(found)
    axes = np.stack([_multiply(_multiply(group, np.eye(4)[None, 1 + a]), group * np.array([1, -1, -1, -1.0])) for a in range(3)], axis=1)
    return group, np.argmax(np.abs(axes[:, :, 1:]), axis=2)


def _multiply(a: F64, b: F64) -> F64:
    """Hamilton product of [N, 4] wxyz."""
    aw, ax, ay, az = a.T
    bw, bx, by, bz = b.T
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=1,
    )
