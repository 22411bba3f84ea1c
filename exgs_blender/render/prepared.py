# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a scene does not depend on the view: activated, in world coordinates, all objects in one list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError
from ..splats import Scene, SplatObject, objects_of
from ..splats.activation import opacity_from_logit, scale_from_log, unit_quats
from ..splats.ellipsoids import UPPER
from ..splats.gaussians import F32

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """One object's Gaussians start..stop of the list, with what its colours are made from.

    Attributes:
        sh0: [n, 1, 3] coefficient of degree 0, in object space; the cloud's own array.
        shN: [n, K-1, 3] those above.
        object_from_world: [4, 4].
    """

    start: int
    stop: int
    sh0: F32
    shN: F32
    object_from_world: F64

    @property
    def sh(self) -> F32:
        """[n, K, 3] all coefficients, copied together."""
        return np.concatenate([self.sh0, self.shN], axis=1)


@dataclass(frozen=True, eq=False)
class PreparedScene:
    """N Gaussians of all objects, in order.

    Attributes:
        means: [N, 3] in the world.
        covars: [N, 6] upper triangle of the covariances in the world (see UPPER).
        opacities: [N] 0..1.
        parts: one for each object.
    """

    means: F32
    covars: F32
    opacities: F32
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return len(self.means)


def prepare(scene: Scene) -> PreparedScene:
    """Activate and place every object of a scene.

    Raises:
        ExgsError: an object's matrix is not [4, 4], not finite or flattens space (determinant 0).
    """
    objects = objects_of(scene)
    parts: list[Part] = []
    start = 0
    for index, placed in enumerate(objects):
        stop = start + len(placed.gaussians)
        parts.append(Part(start, stop, placed.gaussians.sh0, placed.gaussians.shN, _inverse(placed, index)))
        start = stop
    none = np.zeros((0, 3), np.float32)
    return PreparedScene(
        means=np.concatenate([none, *(_world_means(o) for o in objects)]),
        covars=np.concatenate([np.zeros((0, 6), np.float32), *(_world_covars(o) for o in objects)]),
        opacities=np.concatenate([none[:, 0], *(opacity_from_logit(o.gaussians.opacities) for o in objects)]),
        parts=tuple(parts),
    )


def _inverse(placed: SplatObject, index: int) -> F64:
    matrix = np.asarray(placed.world_from_object, np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ExgsError(f"object {index}: world_from_object has shape {list(matrix.shape)} or is not finite, expected a finite [4, 4]")
    if np.linalg.det(matrix[:3, :3]) == 0:
        raise ExgsError(f"object {index}: world_from_object has determinant 0; give the object a scale other than 0 on every axis")
    return np.linalg.inv(matrix)


def _world_means(placed: SplatObject) -> F32:
    matrix = np.asarray(placed.world_from_object, np.float64)
    return (placed.gaussians.means @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)


def _world_covars(placed: SplatObject) -> F32:
    """[N, 6]: L R S S R' L' with L the object's linear part."""
    linear = np.asarray(placed.world_from_object, np.float64)[:3, :3].astype(np.float32)
    factor = linear @ (rotations(placed.gaussians.quats) * scale_from_log(placed.gaussians.scales)[:, None, :])
    return np.stack([np.einsum("nk,nk->n", factor[:, i], factor[:, j]) for i, j in UPPER], axis=1)


def rotations(quats: F32) -> F32:
    """[N, 4] wxyz, any length -> [N, 3, 3]."""
    w, x, y, z = unit_quats(quats).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2).astype(np.float32)
