# SPDX-License-Identifier: GPL-3.0-or-later
"""The equations of the re-fit against finite differences of the renderer itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.render.rasterize import rasterize_all
from exgs_blender.render.residuals import normal_equations, residual_errors, target_of
from exgs_blender.splats.ellipsoids import Ellipsoids, ellipsoids_of, gaussians_from
from exgs_blender.splats.statistics import COLOUR, POSITION, SHAPE, SHAPE_CURVATURE, WEIGHT, WEIGHT_SQUARED
from exgs_blender.ugc import refit_kernels

from ..clouds import random_gaussians


@pytest.fixture(scope="module")
def scene() -> tuple[Ellipsoids, object, list]:  # type: ignore[type-arg]
    """A cloud, views, and targets that differ from it a little."""
    source = random_gaussians(12, 1, seed=3)
    source = replace(source, scales=source.scales - 0.2, sh0=np.clip(source.sh0, -1.0, 1.0), shN=0.3 * source.shN)
    views = orbit(extent_of(source), 3, width=80, height=60)
    targets = [target_of(f.rgb, f.alpha) for f in rasterize_all(source, views)]
    rng = np.random.default_rng(0)
    moved = replace(
        source, means=source.means + 0.1 * rng.standard_normal(source.means.shape), opacities=np.minimum(source.opacities, 2.0) - 0.5
    )
    return ellipsoids_of(moved), views, targets


def _error(cloud: Ellipsoids, views, targets) -> float:  # type: ignore[no-untyped-def]
    return sum(residual_errors(cloud, views, targets))


def _moved(cloud: Ellipsoids, direction: np.ndarray, length: float) -> Ellipsoids:  # type: ignore[type-arg]
    parts = [np.array(part) for part in (cloud.means, cloud.factors, cloud.opacities, cloud.sh)]
    refit_kernels.take_step(*parts, direction.astype(np.float32), length)
    return Ellipsoids(*parts)


@pytest.mark.parametrize(
    ("name", "columns", "first", "tolerance"),
    [("opacity", 1, SHAPE, 0.05), ("shape", 6, SHAPE + 1, 0.12), ("colour", 12, COLOUR, 0.05)],
)
def test_gradients_are_those_of_the_error(scene, name, columns, first, tolerance) -> None:  # type: ignore[no-untyped-def]
    """Along random directions of one kind; pixels drop in and out at 1/255, so not exactly."""
    cloud, views, targets = scene
    found = normal_equations(cloud, views, targets)
    start = {"opacity": 3, "shape": 4, "colour": 10}[name]
    rng = np.random.default_rng(1)
    for _ in range(4):
        direction = np.zeros((len(cloud), 10 + 3 * found.bases))
        direction[:, start : start + columns] = rng.standard_normal((len(cloud), columns))
        length = 0.01
        measured = (
            _error(_moved(cloud, direction, length), views, targets) - _error(_moved(cloud, direction, -length), views, targets)
        ) / (2 * length)
        gradient = found.columns[:, first : first + columns]
        promised = -2 * float((gradient * direction[:, start : start + columns]).sum())
        scale = 2 * np.linalg.norm(gradient) * np.sqrt(columns)
        assert measured == pytest.approx(promised, abs=tolerance * scale)


def test_position_gradients_are_those_of_the_error(scene) -> None:  # type: ignore[no-untyped-def]
    """Across the line of sight; along it the projection's own derivative counts, which is left out, and Gaussians change places."""
    cloud, views, targets = scene
    eye = views.positions()[0]
    views, targets = views.select([0]), targets[:1]
    found = normal_equations(cloud, views, targets)
    measured, promised = [], []
    for i in range(len(cloud)):
        sight = cloud.means[i] - eye
        across = np.cross(sight, [0.3, 1.0, 0.2])
        across *= 0.05 / np.linalg.norm(np.linalg.solve(cloud.factors[i].astype(np.float64), across))
        direction = np.zeros((len(cloud), 10 + 3 * found.bases))
        direction[i, :3] = np.linalg.solve(cloud.factors[i].astype(np.float64), across)
        ahead, behind = (_error(_moved(cloud, direction, step), views, targets) for step in (0.2, -0.2))
        measured.append((ahead - behind) / 0.4)
        promised.append(-2 * float(found.columns[i, POSITION : POSITION + 3] @ direction[i, :3]))
    np.testing.assert_allclose(measured, promised, atol=0.15 * np.abs(promised).max())


def test_errors_and_weights(scene) -> None:  # type: ignore[no-untyped-def]
    cloud, views, targets = scene
    found = normal_equations(cloud, views, targets)
    np.testing.assert_allclose(found.errors, residual_errors(cloud, views, targets), rtol=1e-6)
    frames = list(rasterize_all(gaussians_from(cloud), views))
    expected = sum(np.square(np.clip(f.rgb, 0, 1) - t.rgba[..., :3].astype(np.float32)).sum() for f, t in zip(frames, targets, strict=True))
    assert found.squared_error == pytest.approx(expected, rel=1e-3)
    assert found.values == 3 * 60 * 80 * 3
    assert (found.columns[:, WEIGHT] >= found.columns[:, WEIGHT_SQUARED] - 1e-4).all()
    assert (found.columns[:, SHAPE_CURVATURE] >= 0).all()


def test_opacity_curvature_is_the_squared_derivative_of_the_image(scene) -> None:  # type: ignore[no-untyped-def]
    cloud, views, targets = scene
    found = normal_equations(cloud, views, targets)
    for i in np.argsort(-found.columns[:, WEIGHT])[:3]:
        direction = np.zeros((len(cloud), 10 + 3 * found.bases))
        direction[i, 3] = 1.0
        up, down = (list(rasterize_all(gaussians_from(_moved(cloud, direction, s)), views)) for s in (0.02, -0.02))
        squared = 0.0
        for a, b in zip(up, down, strict=True):
            squared += np.square((a.rgb - b.rgb) / 0.04).sum() + np.square((a.alpha - b.alpha) / 0.04).sum()
        assert found.columns[i, SHAPE_CURVATURE] == pytest.approx(squared, rel=0.1)


def test_the_result_does_not_depend_on_the_number_of_threads(scene) -> None:  # type: ignore[no-untyped-def]
    cloud, views, targets = scene
    one, two = (normal_equations(cloud, views, targets, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.columns, two.columns)


def test_a_perfect_cloud_is_asked_nothing(scene) -> None:  # type: ignore[no-untyped-def]
    cloud, views, _ = scene
    targets = [target_of(f.rgb, f.alpha) for f in rasterize_all(gaussians_from(cloud), views)]
    found = normal_equations(cloud, views, targets)
    assert found.mean_squared_error < 1e-6
