# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians by their moments: what merging and re-fitting work on, free of the ambiguities of quaternions and axis order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .activation import logit_from_opacity, opacity_from_logit, scale_from_log
from .gaussians import F32, Gaussians
from .rotations import matrices_from_quats, quats_from_matrices

F64 = np.ndarray[Any, np.dtype[np.float64]]
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
    half = matrices_from_quats(gaussians.quats) * scale_from_log(gaussians.scales).astype(np.float64)[:, None, :]
    full = half @ half.transpose(0, 2, 1)
    return np.stack([full[:, i, j] for i, j in UPPER], axis=1)
