# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.splats import Gaussians
from exgs_blender.splats.activation import SH_C0, opacity_from_logit
from exgs_blender.ugc.merge import covariances_of, matrices_from_quats, quats_from_matrices
from exgs_blender.ugc.quantise import NEAR_LOSSLESS, Steps, canonical_rotations, cells_from_codes, codes_from_cells, dequantise, quantise

from ..clouds import random_gaussians


def _in_coded_order(cloud: Gaussians, steps: Steps) -> Gaussians:
    cells = quantise(cloud, steps).contraction.grid_from_world(cloud.means)
    return cloud.select(np.argsort(codes_from_cells(cells), kind="stable"))


@pytest.mark.parametrize("steps", [Steps(), NEAR_LOSSLESS])
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_errors_stay_within_half_a_step(steps: Steps, degree: int) -> None:
    cloud = random_gaussians(500, degree, seed=degree)
    source, decoded = _in_coded_order(cloud, steps), dequantise(quantise(cloud, steps))
    size = float(np.ptp(cloud.means, axis=0).max())
    assert np.abs(source.means - decoded.means).max() < 0.6 * size / 2**steps.position_bits
    np.testing.assert_allclose(np.sort(source.scales, axis=1), np.sort(decoded.scales, axis=1), atol=steps.scale / 2 + 1e-5)
    opacity_error = np.abs(opacity_from_logit(source.opacities) - opacity_from_logit(decoded.opacities)).max()
    assert opacity_error < 0.51 / steps.opacity_levels
    assert np.abs(source.sh0 - decoded.sh0).max() * SH_C0 < 0.5 * steps.colour * (1 + 2 * 1.5) + 1e-6
    if degree:
        rms = np.sqrt(np.mean(np.square(source.shN - decoded.shN)))
        assert rms < 0.5 * steps.sh


def test_far_points_do_not_cost_the_core_its_precision() -> None:
    cloud = random_gaussians(500, 0)
    means = cloud.means.copy()
    means[:5] *= 1000
    far = Gaussians(means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh0, cloud.shN)
    source, decoded = _in_coded_order(far, Steps()), dequantise(quantise(far, Steps()))
    error = np.linalg.norm(source.means - decoded.means, axis=1)
    distance = np.linalg.norm(source.means, axis=1)
    assert error[distance < 2].max() < 4e-3  # even steps over the whole range would be 0.2
    assert (error / np.maximum(distance, 1)).max() < 4e-3


def test_relabelled_axes_are_the_same_ellipsoid_with_a_small_rotation() -> None:
    cloud = random_gaussians(2000, 0, seed=3)
    vector, scales = canonical_rotations(cloud.quats, cloud.scales)
    assert np.abs(vector).max() <= np.sqrt(2) - 1 + 1e-6
    quats = np.concatenate([np.ones((len(vector), 1)), vector], axis=1).astype(np.float32)
    same = Gaussians(cloud.means, quats, scales, cloud.opacities, cloud.sh0, cloud.shN)
    expected = covariances_of(cloud)
    np.testing.assert_allclose(covariances_of(same), expected, atol=2e-6 * np.abs(expected).max())


def test_a_zero_quaternion_is_the_identity() -> None:
    vector, _ = canonical_rotations(np.zeros((1, 4), np.float32), np.zeros((1, 3), np.float32))
    np.testing.assert_allclose(np.abs(vector), 0, atol=1e-12)


def test_morton_codes_both_ways() -> None:
    cells = np.random.default_rng(0).integers(0, 1 << 20, (1000, 3))
    np.testing.assert_array_equal(cells_from_codes(codes_from_cells(cells)), cells)
    assert codes_from_cells(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 0, 0]])).tolist() == [1, 2, 4, 8]


def test_rotation_matrices_both_ways() -> None:
    quats = np.random.default_rng(1).normal(size=(500, 4)).astype(np.float32)
    matrices = matrices_from_quats(quats)
    np.testing.assert_allclose(matrices_from_quats(quats_from_matrices(matrices)), matrices, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_tiny_and_degenerate_clouds(count: int) -> None:
    cloud = random_gaussians(max(count, 1), 2).select(np.zeros(count, int))
    decoded = dequantise(quantise(cloud, Steps()))
    assert len(decoded) == count
    np.testing.assert_allclose(decoded.means, cloud.means, atol=1e-6)
