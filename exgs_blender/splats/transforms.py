# SPDX-License-Identifier: GPL-3.0-or-later
"""Move, rotate and scale a cloud for good: positions, shapes, and the view-dependent colour with them.

Rendering does not need this: it evaluates colour in object space. It is for joining objects and for files, which have no transform.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError
from .activation import log_from_scale, scale_from_log
from .gaussians import F32, Gaussians
from .rotations import matrices_from_quats, quats_from_matrices
from .spherical_harmonics import sh_rotations, sh_signs

F64 = NDArray[np.float64]

UNIFORM = 1e-6
"""Scales of three axes that differ by less than this part are one scale: shapes then turn exactly, without a decomposition."""

CHUNK = 1 << 16


def transformed(gaussians: Gaussians, target_from_source: NDArray[np.floating[Any]]) -> Gaussians:
    """The cloud in other coordinates.

    With L the upper left 3 x 3 part: a covariance C becomes L C L^T. Its scales and rotation are kept and turned where L is a
    rotation and one scale (also mirrored), and found anew by singular values where it is not. Colour turns with the
    orthogonal factor of L (its polar decomposition).

    Args:
        gaussians: any cloud.
        target_from_source: [4, 4] affine, invertible.

    Raises:
        ExgsError: the matrix is not of this kind.
    """
    matrix = np.asarray(target_from_source, np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise ExgsError("transform: expected a finite affine matrix [4, 4] whose last row is 0 0 0 1")
    linear = matrix[:3, :3]
    left, stretch, right = np.linalg.svd(linear)
    if stretch[2] <= 1e-12 * stretch[0]:
        raise ExgsError("transform: the matrix flattens space (a scale of 0), so the Gaussians would have no volume")
    means = np.empty_like(gaussians.means)
    for rows in _chunks(len(gaussians)):
        means[rows] = gaussians.means[rows] @ linear.T + matrix[:3, 3]
    turn = left @ right
    if stretch[0] - stretch[2] <= UNIFORM * stretch[0]:
        scales = gaussians.scales + np.float32(np.log(stretch[1]))
        quats = _multiplied(_quat_from_matrix(turn * np.linalg.det(turn)), gaussians.quats)
    else:
        scales, quats = _reshaped(gaussians, linear)
    return replace(gaussians, means=means, scales=scales, quats=quats, shN=_turned_sh(gaussians, turn))


def moved(gaussians: Gaussians, by: NDArray[np.floating[Any]]) -> Gaussians:
    """Shifted by a vector [3]."""
    return replace(gaussians, means=gaussians.means + np.asarray(by, np.float32))


def flipped(gaussians: Gaussians, flips: tuple[int, int, int]) -> Gaussians:
    """The cloud with axes of opposite sign: exact, as only signs change. (1, -1, -1) is half a turn about x.

    Args:
        gaussians: any cloud.
        flips: 1 or -1 for x, y, z. An odd number of -1 mirrors the cloud.
    """
    return replace(
        gaussians,
        means=gaussians.means * np.array(flips, np.float32),
        quats=gaussians.quats * quat_signs(flips),
        shN=gaussians.shN * sh_signs(gaussians.sh_degree, flips)[:, None],
    )


def quat_signs(flips: tuple[int, int, int]) -> F32:
    """Signs [4] of wxyz when axes are mirrored: each axis component has the sign of the plane that it turns in."""
    x, y, z = flips
    return np.array([1, y * z, x * z, x * y], np.float32)


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))


def _turned_sh(gaussians: Gaussians, turn: F64) -> F32:
    """shN after an orthogonal change of axes: one product for all bands and colours, which the processor's library does fastest."""
    count, coefficients, _ = gaussians.shN.shape
    turned = np.empty((count, 3 * coefficients), np.float32)
    whole = np.zeros((coefficients, coefficients))
    start = 0
    for matrix in sh_rotations(turn, gaussians.sh_degree):
        band = slice(start, start + len(matrix))
        whole[band, band] = matrix
        start = band.stop
    product = np.kron(whole, np.eye(3)).T.astype(np.float32)
    flat = gaussians.shN.reshape(count, 3 * coefficients)
    for rows in _chunks(count):
        np.matmul(flat[rows], product, out=turned[rows])
    return turned.reshape(gaussians.shN.shape)


def _reshaped(gaussians: Gaussians, linear: F64) -> tuple[F32, F32]:
    """Log scales and rotations of L C L^T, with C^(1/2) = R S: the singular values and left vectors of L R S.

    Gaussians with a value that is not finite stay as they are.
    """
    scales, quats = gaussians.scales.copy(), gaussians.quats.copy()
    for rows in _chunks(len(gaussians)):
        with np.errstate(invalid="ignore"):
            axes = matrices_from_quats(gaussians.quats[rows]) * scale_from_log(gaussians.scales[rows])[:, None, :]
        finite = np.isfinite(axes).all(axis=(1, 2))
        left, stretch, _ = np.linalg.svd(linear @ axes[finite])
        left *= np.linalg.det(left)[:, None, None]
        scales[rows][finite] = log_from_scale(stretch.astype(np.float32))
        quats[rows][finite] = quats_from_matrices(left)
    return scales, quats


def _multiplied(first: F64, quats: F32) -> F32:
    """The product first * q of quaternions wxyz: [4] and [N, 4] -> [N, 4]; the length of q stays."""
    w, x, y, z = first
    left = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]], np.float32)
    return (quats @ left.T).astype(np.float32)


def _quat_from_matrix(matrix: F64) -> F64:
    """[3, 3] -> [4]."""
    quat: F64 = quats_from_matrices(matrix[None])[0]
    return quat
