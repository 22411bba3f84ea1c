# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from exgs_blender.errors import ExgsError
from exgs_blender.splats import Gaussians
from exgs_blender.splats.activation import SH_C0, opacity_from_logit
from exgs_blender.splats.ellipsoids import covariances_of
from exgs_blender.ugc.dequantise import dequantise
from exgs_blender.ugc.grid import cells_from_codes, codes_from_cells
from exgs_blender.ugc.quantise import (
    BALANCED,
    EXTREME,
    FINE,
    NEAR_LOSSLESS,
    Steps,
    quantise,
    quantise_with_order,
    requantise,
    select_layers,
    steps_for_quality,
)
from exgs_blender.ugc.rotations import canonical_rotations, quats_from_rodrigues

from ..clouds import random_gaussians


def _rounded(cloud: Gaussians, steps: Steps) -> tuple[Gaussians, Gaussians]:
    """The cloud in the order of the file, and what a reader gets."""
    quantised, order = quantise_with_order(cloud, steps)
    return cloud.select(order), dequantise(quantised)


@pytest.mark.parametrize("steps", [Steps(sh_trade=0.0), NEAR_LOSSLESS])
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_errors_stay_within_half_a_step(steps: Steps, degree: int) -> None:
    cloud = random_gaussians(500, degree, seed=degree)
    source, decoded = _rounded(cloud, steps)
    size = float(np.ptp(cloud.means, axis=0).max())
    error = np.abs(source.means - decoded.means).max(axis=1)
    assert np.median(error) < 0.6 * size / 2**steps.position_bits
    assert error.max() < 4 * 0.6 * size / 2**steps.position_bits  # the largest Gaussians get cells four times as wide
    np.testing.assert_allclose(np.sort(source.scales, axis=1), np.sort(decoded.scales, axis=1), atol=steps.scale / 2 + 1e-5)
    opacity_error = np.abs(opacity_from_logit(source.opacities) - opacity_from_logit(decoded.opacities)).max()
    assert opacity_error < 0.51 / steps.opacity_levels
    assert np.abs(source.sh0 - decoded.sh0).max() * SH_C0 < 0.5 * steps.colour * (1 + 2 * 1.5) + 1e-6
    if degree:
        rms = np.sqrt(np.mean(np.square(source.shN - decoded.shN)))
        assert rms < 0.5 * steps.sh


def test_small_gaussians_are_placed_more_finely() -> None:
    cloud = random_gaussians(2000, 0)
    cloud = replace(cloud, scales=cloud.scales + np.linspace(-3, 3, 2000, dtype=np.float32)[:, None])
    source, decoded = _rounded(cloud, BALANCED)
    error = np.linalg.norm(source.means - decoded.means, axis=1)
    size = source.scales.mean(axis=1)
    assert 5 * error[size < np.quantile(size, 0.2)].mean() < error[size > np.quantile(size, 0.8)].mean()


def test_far_points_do_not_cost_the_core_its_precision() -> None:
    cloud = random_gaussians(500, 0)
    means = cloud.means.copy()
    means[:5] *= 1000
    source, decoded = _rounded(replace(cloud, means=means), replace(BALANCED, position_bits=12.5))
    error = np.linalg.norm(source.means - decoded.means, axis=1)
    distance = np.linalg.norm(source.means, axis=1)
    assert np.median(error[distance < 2]) < 4e-3  # even steps over the whole range would be 0.2
    assert (error / np.maximum(distance, 1)).max() < 2e-2


def test_a_rotation_is_kept_as_precisely_as_it_shows() -> None:
    """Needles move the image when they turn, balls do not."""
    cloud = random_gaussians(1000, 0)
    needle = np.where(np.arange(1000)[:, None] % 2, [0.0, 0.0, 0.0], [-3.0, -3.0, 0.0]).astype(np.float32)
    source, decoded = _rounded(replace(cloud, scales=needle - 3), BALANCED)
    turn = 1 - np.abs(np.einsum("ni,ni->n", source.quats, decoded.quats))
    is_needle = np.ptp(source.scales, axis=1) > 1
    largest = np.exp(2 * source.scales.max(axis=1))[:, None]
    moved = np.abs(covariances_of(source) - covariances_of(decoded)).max(axis=1) / largest[:, 0]
    assert moved[is_needle].max() < 0.25
    assert turn.shape == moved.shape


def test_what_looks_alone_changes_keeps_the_geometry() -> None:
    cloud = random_gaussians(3000, 2)
    first = quantise(cloud, BALANCED)
    read = dequantise(first)
    fitted = replace(read, opacities=read.opacities - 1, sh0=read.sh0 * 1.1, shN=read.shN * 0.5)
    second = requantise(first, fitted, np.linspace(0, 2, 3000, dtype=np.float32))
    for name in ("cells", "offsets", "scales", "rotations"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    again = dequantise(second)
    for name in ("means", "scales", "quats"):
        np.testing.assert_array_equal(getattr(read, name), getattr(again, name), err_msg=name)
    assert np.abs(again.sh0 - fitted.sh0).max() * SH_C0 < 2.1 * BALANCED.colour
    with pytest.raises(ExgsError, match="cannot re-quantise 3000"):
        requantise(first, cloud.select(slice(0, 10)))


def test_quality_runs_through_the_named_steps() -> None:
    assert [steps_for_quality(q) for q in (0, 1, 2, 3)] == [EXTREME, BALANCED, FINE, NEAR_LOSSLESS]
    for a, b in pairwise(steps_for_quality(q) for q in np.linspace(0, 3, 13)):
        assert a.position_bits < b.position_bits
        assert a.opacity_levels <= b.opacity_levels
        assert (a.scale, a.rotation, a.colour, a.sh) > (b.scale, b.rotation, b.colour, b.sh)
    with pytest.raises(ExgsError, match=r"quality is 3\.5"):
        steps_for_quality(3.5)


def test_layers_begin_with_what_covers_most() -> None:
    assert quantise(random_gaussians(100_000, 0), EXTREME).layers == (10_000, 30_000, 60_000)
    quantised = quantise(random_gaussians(4800, 1), EXTREME)
    assert quantised.layers == (1200, 3600)
    decoded = dequantise(quantised)
    cover = opacity_from_logit(decoded.opacities) * np.exp(decoded.scales.sum(axis=1) - decoded.scales.min(axis=1))
    assert np.median(cover[:1200]) > np.median(cover[1200:])
    front = dequantise(select_layers(quantised, 1))
    for (name, whole), (_, part) in zip(decoded.arrays(), front.arrays(), strict=True):
        np.testing.assert_allclose(whole[:1200], part, atol=1e-6, err_msg=name)


def test_heavy_gaussians_keep_more_of_their_view_dependence() -> None:
    cloud = random_gaussians(4000, 2)
    weight = np.where(np.arange(4000) % 2, 10.0, 0.1).astype(np.float32)
    quantised, order = quantise_with_order(cloud, replace(BALANCED, sh=0.2), weight)
    error = np.square(dequantise(quantised).shN - cloud.select(order).shN).mean(axis=(1, 2))
    assert error[weight[order] > 1].mean() < 0.9 * error[weight[order] < 1].mean()


def test_relabelled_axes_are_the_same_ellipsoid_with_a_small_rotation() -> None:
    cloud = random_gaussians(2000, 0, seed=3)
    vector, scales = canonical_rotations(cloud.quats, cloud.scales)
    assert np.abs(vector).max() <= np.sqrt(2) - 1 + 1e-6
    quats = quats_from_rodrigues(vector.astype(np.float32))
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


@pytest.mark.parametrize("count", [0, 1, 2])
def test_tiny_and_degenerate_clouds(count: int) -> None:
    cloud = random_gaussians(max(count, 1), 2).select(np.zeros(count, int))
    decoded = dequantise(quantise(cloud, Steps()))
    assert len(decoded) == count
    np.testing.assert_allclose(decoded.means, cloud.means, atol=1e-6)
