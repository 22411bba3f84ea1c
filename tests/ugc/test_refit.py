# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.render.scored_views import ScoredViews, score_views
from exgs_blender.splats import Gaussians
from exgs_blender.splats.ellipsoids import ellipsoids_of, gaussians_from
from exgs_blender.splats.statistics import COLOUR, POSITION, SHAPE, WEIGHT, WEIGHT_SQUARED, equation_columns
from exgs_blender.ugc import refit_kernels
from exgs_blender.ugc.refit import RefitSettings, refit

from ..clouds import random_gaussians


@pytest.fixture(scope="module")
def source() -> Gaussians:
    cloud = random_gaussians(300, 1, seed=5)
    return replace(cloud, scales=cloud.scales + 0.8, sh0=np.clip(cloud.sh0, -1.2, 1.2), shN=0.3 * cloud.shN)


@pytest.fixture(scope="module")
def views(source: Gaussians) -> ScoredViews:
    return score_views(source, [(orbit(extent_of(source), 6, width=96, height=72), 1.0)])


def _spoilt(source: Gaussians) -> Gaussians:
    rng = np.random.default_rng(2)
    return replace(
        source,
        means=source.means + 0.05 * rng.standard_normal(source.means.shape).astype(np.float32),
        scales=source.scales + 0.2,
        opacities=source.opacities - 0.4,
        sh0=source.sh0 + 0.2 * rng.standard_normal(source.sh0.shape).astype(np.float32),
    )


def test_a_spoilt_cloud_finds_back_on_views_that_it_did_not_see(source: Gaussians, views: ScoredViews) -> None:
    others = score_views(source, [(orbit(extent_of(source), 4, width=96, height=72, phase=0.5), 1.0)])
    spoilt = _spoilt(source)
    errors = [others.error(gaussians_from(refit(ellipsoids_of(spoilt), views, RefitSettings(rounds)))) for rounds in (0, 1, 6)]
    assert errors[0] == pytest.approx(others.error(spoilt), rel=1e-3)
    assert errors[1] < 0.7 * errors[0]
    assert errors[2] < 0.25 * errors[0]


def test_the_source_stays_what_it_is(source: Gaussians, views: ScoredViews) -> None:
    before = views.error(source)
    after = views.error(gaussians_from(refit(ellipsoids_of(source), views, RefitSettings(3))))
    assert after <= before + 1e-6


def test_geometry_can_be_left_alone(source: Gaussians, views: ScoredViews) -> None:
    spoilt = ellipsoids_of(_spoilt(source))
    fitted = refit(spoilt, views, RefitSettings(2, geometry=False))
    np.testing.assert_array_equal(fitted.means, spoilt.means)
    np.testing.assert_array_equal(fitted.factors, spoilt.factors)
    assert views.error(gaussians_from(fitted)) < 0.8 * views.error(gaussians_from(spoilt))


def test_blocks_are_solved_as_numpy_solves_them() -> None:
    rng, bases, count = np.random.default_rng(0), 4, 5
    rows = np.zeros((count, equation_columns(bases)), np.float32)
    expected = np.zeros((count, 10 + 3 * bases))
    damping, colour_damping, ridges = 0.3, 0.2, np.array([0.1, 0.5, 0.5, 0.5])
    for i in range(count):
        rows[i, WEIGHT], rows[i, WEIGHT_SQUARED] = 3.0, 2.0
        parts = {POSITION: 3, SHAPE: 7}
        for (first, size), to in zip(parts.items(), (0, 3), strict=True):
            half = rng.standard_normal((size, size))
            curvature, gradient = half @ half.T, rng.standard_normal(size)
            rows[i, first : first + size] = gradient
            rows[i, first + size : first + size + size * (size + 1) // 2] = curvature[np.triu_indices(size)]
            damped = 1.5 * curvature
            damped += (damping + refit_kernels.TRACE_DAMPING * np.trace(damped)) * np.eye(size)
            expected[i, to : to + size] = np.linalg.solve(damped, gradient)
        half = rng.standard_normal((bases, bases))
        curvature, gradient = half @ half.T, rng.standard_normal((bases, 3))
        rows[i, COLOUR : COLOUR + 3 * bases] = gradient.ravel()
        rows[i, COLOUR + 3 * bases :] = curvature[np.triu_indices(bases)]
        damped = curvature + np.diag(ridges * (refit_kernels.SH_C0_SQUARED * 3.0 + colour_damping))
        expected[i, 10:] = np.linalg.solve(damped, gradient).ravel()
    direction = np.empty_like(expected, dtype=np.float32)
    refit_kernels.solve_blocks(rows, bases, damping, colour_damping, ridges, direction)
    np.testing.assert_allclose(direction, expected, rtol=2e-3, atol=2e-4)


def test_shares_of_attention(source: Gaussians) -> None:
    """A set with no share changes nothing; with all of it, it is as if alone; the number of its views does not matter."""
    extent = extent_of(source)
    near, far = orbit(extent, 5, width=64, height=48), orbit(extent, 3, width=64, height=48, distance=3.0)
    both, alone = score_views(source, [(near, 1.0), (far, 1.0)]), score_views(source, [(near, 1.0)])
    assert [part.weight for part in both.sets] == pytest.approx([8 / 2 / 5, 8 / 2 / 3])
    spoilt = _spoilt(source)
    expected = np.mean([alone.error(spoilt), score_views(source, [(far, 1.0)]).error(spoilt)])
    assert both.error(spoilt) == pytest.approx(expected, rel=0.05)
    assert len(both.errors(ellipsoids_of(spoilt), 0, 3)) == len(both.equations(ellipsoids_of(spoilt), 0).errors[::3])
