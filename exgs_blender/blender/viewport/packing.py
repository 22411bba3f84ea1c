# SPDX-License-Identifier: GPL-3.0-or-later
"""Clouds as rows of float textures, which the vertex shader reads. numpy only.

Row ``r`` of both textures holds splats ``r * SPLATS_PER_ROW ...``; a cloud begins at a row of its own. A splat has

=============  =====================================================================================
``geometry``   3 texels: mean xyz, opacity | covariance xx xy xz yy | covariance yz zz, unused, unused
``harmonics``  3 texels for each four coefficients: r0 g0 b0 r1 | g1 b1 r2 g2 | b2 r3 g3 b3
=============  =====================================================================================

An instance (a cloud at a place, seen by a view) has 5 texels: the three rows of view_from_object, the camera in object space
(a direction where the view is orthographic), and the cloud's first row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...splats.ellipsoids import covariances_from
from ...splats.gaussians import F32, SH_COEFFICIENTS

SPLATS_PER_ROW = 768
"""21 texels (degree 4) times 768 stay below 16,384, the width that every graphics card of today has."""
MAX_ROWS = 16384
GEOMETRY_TEXELS = 3
INSTANCE_TEXELS = 5
ORDER_WIDTH = 4096

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PackedCloud:
    """One cloud, ready for the textures and for sorting.

    Attributes:
        means: [N, 3] object space.
        significance: [N] opacity times the area of the largest section: what is drawn first when not all can be.
        geometry: [rows, SPLATS_PER_ROW * 3, 4].
        coefficients: [N, K, 3] spherical harmonics, degree 0 first.
    """

    means: F32
    significance: F32
    geometry: F32
    coefficients: F32

    def __len__(self) -> int:
        return len(self.means)

    @property
    def rows(self) -> int:
        return self.geometry.shape[0]


@dataclass(frozen=True, eq=False)
class Atlas:
    """All clouds of a scene as two textures.

    Attributes:
        first_rows: by cloud key.
        geometry: [rows, SPLATS_PER_ROW * 3, 4].
        harmonics: [rows, SPLATS_PER_ROW * texels, 4].
        degree: of the harmonics; clouds of a lower one are padded with zeros.
        left_out: keys of clouds for which the textures have no room.
    """

    first_rows: dict[str, int]
    geometry: F32
    harmonics: F32
    degree: int
    left_out: tuple[str, ...]


def pack_cloud(means: F32, quats: F32, scales: F32, opacities: F32, coefficients: F32) -> PackedCloud:
    """Pack activated Gaussians.

    Args:
        means: [N, 3].
        quats: [N, 4] wxyz, any length.
        scales: [N, 3] standard deviations.
        opacities: [N] 0..1.
        coefficients: [N, K, 3].

    A splat with a value that is not finite is kept, at opacity 0, so that indices stay those of the points.
    """
    count = len(means)
    covariances = covariances_from(quats, scales)
    finite = np.isfinite(means).all(axis=1) & np.isfinite(covariances).all(axis=1) & np.isfinite(opacities)
    finite &= np.isfinite(coefficients.reshape(count, -1).sum(axis=1))
    if not finite.all():
        means, covariances = np.where(finite[:, None], means, 0), np.where(finite[:, None], covariances, 0)
        coefficients, opacities = np.where(finite[:, None, None], coefficients, 0), np.where(finite, opacities, 0)
        scales = np.where(finite[:, None], scales, 0)
    rows = -(-count // SPLATS_PER_ROW)
    geometry = np.zeros((rows * SPLATS_PER_ROW, 4 * GEOMETRY_TEXELS), np.float32)
    geometry[:count, :3] = means
    geometry[:count, 3] = opacities
    geometry[:count, 4:10] = covariances
    size = np.sort(scales, axis=1)
    return PackedCloud(
        means=np.ascontiguousarray(means, np.float32),
        significance=(opacities * size[:, 1] * size[:, 2]).astype(np.float32),
        geometry=geometry.reshape(rows, SPLATS_PER_ROW * GEOMETRY_TEXELS, 4),
        coefficients=coefficients,
    )


def harmonics_texels(degree: int) -> int:
    """Texels of a splat's coefficients up to a degree."""
    return 3 * -(-SH_COEFFICIENTS[degree] // 4)


def pack_atlas(clouds: Mapping[str, PackedCloud], max_degree: int) -> Atlas:
    """Stack clouds below each other, in the order of their keys; those for which there is no room are named and left out."""
    first_rows: dict[str, int] = {}
    left_out = []
    row = 0
    for key in sorted(clouds):
        if row + clouds[key].rows > MAX_ROWS:
            left_out.append(key)
            continue
        first_rows[key] = row
        row += clouds[key].rows
    degree = min(max_degree, max((SH_COEFFICIENTS.index(clouds[key].coefficients.shape[1]) for key in first_rows), default=0))
    texels = harmonics_texels(degree)
    harmonics = np.zeros((max(row, 1) * SPLATS_PER_ROW, 4 * texels), np.float32)
    for key, first in first_rows.items():
        values = clouds[key].coefficients[:, : SH_COEFFICIENTS[degree]].reshape(len(clouds[key]), -1)
        start = first * SPLATS_PER_ROW
        harmonics[start : start + len(values), : values.shape[1]] = values
    geometry = [clouds[key].geometry for key in first_rows]
    return Atlas(
        first_rows=first_rows,
        geometry=np.concatenate(geometry) if geometry else np.zeros((1, SPLATS_PER_ROW * GEOMETRY_TEXELS, 4), np.float32),
        harmonics=harmonics.reshape(-1, SPLATS_PER_ROW * texels, 4),
        degree=degree,
        left_out=tuple(left_out),
    )


def pack_instances(view_from_world: F64, placed: Sequence[F64], first_rows: Sequence[int], *, ortho: bool) -> F32:
    """[instances, INSTANCE_TEXELS, 4] texels.

    Args:
        view_from_world: [4, 4], OpenGL's axes (the camera looks along -Z).
        placed: world_from_object [4, 4] of each instance.
        first_rows: of each instance's cloud.
    """
    found = np.zeros((max(len(placed), 1), INSTANCE_TEXELS, 4), np.float32)
    for texels, world_from_object, first_row in zip(found, placed, first_rows, strict=False):
        view_from_object = view_from_world @ world_from_object
        texels[:3] = view_from_object[:3]
        seen_from = (0.0, 0.0, -1.0, 0.0) if ortho else (0.0, 0.0, 0.0, 1.0)
        texels[3, :3] = (np.linalg.inv(view_from_object) @ seen_from)[:3]
        texels[4, 0] = first_row
    return found


def pack_order(slots: F32) -> F32:
    """[M, 2] (splat, instance) pairs -> [rows, ORDER_WIDTH, 2]."""
    rows = max(-(-len(slots) // ORDER_WIDTH), 1)
    found = np.zeros((rows * ORDER_WIDTH, 2), np.float32)
    found[: len(slots)] = slots
    return found.reshape(rows, ORDER_WIDTH, 2)
