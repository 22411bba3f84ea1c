# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians by their moments: what merging and re-fitting work on, free of the ambiguities of quaternions and axis order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .activation import logit_from_opacity, opacity_from_logit, scale_from_log
from .gaussians import F32, Gaussians
from .rotations import matrices_from_quats, quats_from_matrices

F64 = np.ndarray[Any, np.dtype[np.float64]]
Real = TypeVar("Real", np.float32, np.float64)
UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""The order of the six values of a symmetric 3x3 matrix, gsplat's."""
FLATTEST = 1e-8
"""Variance along the shortest axis is at least this share of that along the longest."""


@dataclass(frozen=True, eq=False)
class Ellipsoids:
    """N Gaussians, linear.

    Attributes:
        means: [N, 3].
        factors: [N, 3, 3] any F with covariance F F^T; its columns carry whitened directions into the world.
        opacities: [N] 0..1.
        sh: [N, K, 3] coefficients, degree 0 first.
    """

    means: F32
    factors: F32
    opacities: F32
    sh: F32

    def __len__(self) -> int:
        return len(self.means)


def ellipsoids_of(gaussians: Gaussians) -> Ellipsoids:
    """F = R S, opacity activated."""
    factors = matrices_from_quats(gaussians.quats) * scale_from_log(gaussians.scales).astype(np.float64)[:, None, :]
    return Ellipsoids(
        means=gaussians.means,
        factors=factors.astype(np.float32),
        opacities=opacity_from_logit(gaussians.opacities),
        sh=np.concatenate([gaussians.sh0, gaussians.shN], axis=1),
    )


def gaussians_from(ellipsoids: Ellipsoids) -> Gaussians:
    """Inverse of :func:`ellipsoids_of` up to the labels and signs of the axes."""
    factors = ellipsoids.factors.astype(np.float64)
    quats, scales = axes_from_covariances(factors @ factors.transpose(0, 2, 1))
    return Gaussians(
        means=ellipsoids.means,
        quats=quats,
        scales=scales,
        opacities=logit_from_opacity(ellipsoids.opacities),
        sh0=ellipsoids.sh[:, :1],
        shN=ellipsoids.sh[:, 1:],
    )


def axes_from_covariances(covariances: F64) -> tuple[F32, F32]:
    """[N, 3, 3] -> quaternions wxyz [N, 4] and log standard deviations [N, 3], shortest axis first."""
    values, vectors = np.linalg.eigh(covariances)
    vectors[:, :, 2] *= np.sign(np.linalg.det(vectors))[:, None]
    floor = np.maximum(values[:, 2:] * FLATTEST, 1e-30)
    return quats_from_matrices(vectors).astype(np.float32), (0.5 * np.log(np.maximum(values, floor))).astype(np.float32)


def covariances_of(gaussians: Gaussians) -> F64:
    """[N, 6] upper triangles (UPPER) of R S S R^T."""
    return covariances_from(gaussians.quats.astype(np.float64), scale_from_log(gaussians.scales).astype(np.float64))


def covariances_from(quats: NDArray[Real], scales: NDArray[Real]) -> NDArray[Real]:
    """[N, 6] upper triangles (UPPER) of R S S R^T, in the precision of what is given.

    Args:
        quats: [N, 4] wxyz, any length; a zero quaternion is the identity.
        scales: [N, 3] standard deviations.
    """
    with np.errstate(all="ignore"):  # what is not finite stays so, for whoever checks the cloud
        length = np.sqrt(np.einsum("ij,ij->i", quats, quats))
        w, x, y, z = quats.T / np.maximum(length, np.finfo(quats.dtype).tiny)
        rows = (
            (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        )
        factor = [[row[k] * scales[:, k] for k in range(3)] for row in rows]
        found = np.empty((len(quats), len(UPPER)), quats.dtype)
        for value, (i, j) in enumerate(UPPER):
            found[:, value] = factor[i][0] * factor[j][0] + factor[i][1] * factor[j][1] + factor[i][2] * factor[j][2]
    return found
