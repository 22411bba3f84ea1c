# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.errors import ExgsError
from exgs_blender.splats import Gaussians
from exgs_blender.splats.activation import scale_from_log
from exgs_blender.splats.rotations import matrices_from_quats
from exgs_blender.splats.spherical_harmonics import sh_basis, sh_rotations, sh_signs
from exgs_blender.splats.transforms import flipped, moved, transformed

from ..clouds import random_gaussians


def directions(count: int = 50) -> np.ndarray:
    vectors = np.random.default_rng(1).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rotation(seed: int) -> np.ndarray:
    quat = np.random.default_rng(seed).normal(size=(1, 4))
    return matrices_from_quats(quat / np.linalg.norm(quat))[0]


def affine(linear: np.ndarray, shift: tuple[float, float, float] = (1.0, -2.0, 0.5)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, shift
    return matrix


def covariances(cloud: Gaussians) -> np.ndarray:
    axes = matrices_from_quats(cloud.quats) * scale_from_log(cloud.scales)[:, None, :]
    return axes @ axes.transpose(0, 2, 1)


def colour(cloud: Gaussians, seen_from: np.ndarray) -> np.ndarray:
    """[N, 3] at one direction a Gaussian."""
    sh = np.concatenate([cloud.sh0, cloud.shN], axis=1)
    return np.einsum("nk,nkc->nc", sh_basis(seen_from, cloud.sh_degree), sh)


def test_basis_is_the_renderers() -> None:
    """gsplat's own evaluation, which also wants the degree-0 coefficient."""
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("gsplat.cuda._torch_impl")
    d = directions()
    sh = np.random.default_rng(2).normal(size=(len(d), 25, 3)).astype(np.float32)
    for degree in range(5):
        expected = reference._spherical_harmonics(degree, torch.tensor(d, dtype=torch.float32), torch.tensor(sh)).numpy()
        found = np.einsum("nk,nkc->nc", sh_basis(d, degree), sh[:, : (degree + 1) ** 2])
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_basis_is_orthonormal() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(size=(400_000, 3))
    basis = sh_basis(d / np.linalg.norm(d, axis=1, keepdims=True), 4)
    np.testing.assert_allclose(4 * np.pi * basis.T @ basis / len(d), np.eye(25), atol=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_turning_coefficients_turns_the_function(seed: int) -> None:
    turn, d = rotation(seed), directions()
    old = sh_basis(d @ turn, 4)  # at turn^T d
    for band, matrix in enumerate(sh_rotations(turn, 4), 1):
        bands = slice(band**2, (band + 1) ** 2)
        np.testing.assert_allclose(sh_basis(d, 4)[:, bands] @ matrix, old[:, bands], atol=1e-12)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(2 * band + 1), atol=1e-12)


@pytest.mark.parametrize("flips", [(1, -1, -1), (-1, -1, 1), (-1, 1, 1), (1, 1, -1)])
def test_signs_are_the_matrices_of_a_flip(flips: tuple[int, int, int]) -> None:
    signs = np.concatenate([np.diag(matrix) for matrix in sh_rotations(np.diag(flips), 4)])
    np.testing.assert_allclose(sh_signs(4, flips), signs, atol=1e-12)


STRETCH = np.array([[2.0, 0.3, 0], [0, 0.5, 0.1], [0.2, 0, 1.2]])
CASES = {
    "rotation": rotation(5),
    "rotation and scale": 2.5 * rotation(6),
    "mirror": np.diag([-1.0, 1, 1]) @ rotation(7),
    "stretch": STRETCH,
    "mirrored stretch": np.diag([1.0, -1, 1]) @ STRETCH,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("degree", [0, 3, 4])
def test_transformed(name: str, degree: int) -> None:
    linear = CASES[name]
    cloud = random_gaussians(60, degree)
    new = transformed(cloud, affine(linear))
    np.testing.assert_allclose(new.means, cloud.means @ linear.T + (1, -2, 0.5), atol=1e-5)
    expected = linear @ covariances(cloud) @ linear.T
    np.testing.assert_allclose(covariances(new), expected, atol=2e-6 * np.abs(expected).max() + 1e-9)
    left, _, right = np.linalg.svd(linear)
    d = directions(60)
    np.testing.assert_allclose(colour(new, d), colour(cloud, d @ (left @ right)), atol=2e-5)
    np.testing.assert_array_equal(new.opacities, cloud.opacities)


def test_there_and_back() -> None:
    cloud = random_gaussians(200, 3)
    matrix = affine(0.7 * rotation(3))
    again = transformed(transformed(cloud, matrix), np.linalg.inv(matrix))
    same_sign = again.quats * np.sign((again.quats * cloud.quats).sum(axis=1, keepdims=True))  # q and -q are one rotation
    for name, array in cloud.arrays():
        found = same_sign if name == "quats" else getattr(again, name)
        np.testing.assert_allclose(found, array, atol=5e-6, err_msg=name)


def test_identity_changes_nothing() -> None:
    cloud = random_gaussians(50, 2)
    for name, array in transformed(cloud, np.eye(4)).arrays():
        np.testing.assert_allclose(array, getattr(cloud, name), atol=1e-6, err_msg=name)


@pytest.mark.parametrize("flips", [(1, -1, -1), (-1, -1, 1), (-1, 1, 1)])
def test_flipped_is_exact_and_agrees_with_the_general_way(flips: tuple[int, int, int]) -> None:
    cloud = random_gaussians(100, 4)
    new, general = flipped(cloud, flips), transformed(cloud, affine(np.diag(flips).astype(float), (0, 0, 0)))
    np.testing.assert_allclose(covariances(new), covariances(general), atol=1e-6)
    np.testing.assert_allclose(new.shN, general.shN, atol=1e-5)
    for name, array in flipped(new, flips).arrays():
        np.testing.assert_array_equal(array, getattr(cloud, name), err_msg=name)


def test_moved() -> None:
    cloud = random_gaussians(5, 0)
    np.testing.assert_array_equal(moved(cloud, np.array([1, 2, 3])).means, cloud.means + np.array([1, 2, 3], np.float32))


@pytest.mark.parametrize("matrix", [np.eye(3), np.diag([1.0, 1, 0, 1]), np.full((4, 4), np.nan), np.diag([1.0, 1, 1, 2])])
def test_other_matrices_are_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ExgsError, match="transform:"):
        transformed(random_gaussians(3, 0), matrix)


def test_values_that_are_not_finite_stay_for_whoever_checks() -> None:
    """An uneven scale decomposes shapes; one bad shape must not stop the others."""
    cloud = random_gaussians(20, 1)
    good = transformed(cloud, np.diag([1.0, 2, 0.5, 1]))
    cloud.scales[3, 1], cloud.quats[5, 0] = np.nan, np.inf
    found = transformed(cloud, np.diag([1.0, 2, 0.5, 1]))
    assert np.isnan(found.scales[3, 1])
    rest = np.delete(np.arange(20), [3, 5])
    np.testing.assert_array_equal(found.scales[rest], good.scales[rest])
    np.testing.assert_array_equal(found.quats[rest], good.quats[rest])
