# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference against gsplat's own torch code."""

from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.render import constants, reference
from exgs_blender.render.prepared import prepare, rotations
from exgs_blender.render.view import view_of
from exgs_blender.splats.activation import scale_from_log
from tests.clouds import random_gaussians

from .views import around

torch = pytest.importorskip("torch")
oracle = pytest.importorskip("gsplat.cuda._torch_impl")


def test_harmonics() -> None:
    directions = np.random.default_rng(0).normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected = oracle._eval_sh_bases_fast(25, torch.from_numpy(directions)).numpy()
    assert np.abs(reference.spherical_harmonics(4, directions) - expected).max() < 1e-6


@pytest.mark.parametrize("model", ["pinhole", "ortho"])
def test_projection(model: str) -> None:
    cloud = random_gaussians(400, 3, seed=2)
    cameras = around(cloud, ortho=model == "ortho", distance=0.9)
    view = view_of(cameras, 0)
    splats = reference.project(prepare(cloud), view, "antialiased")
    factors = rotations(cloud.quats).astype(np.float64) * scale_from_log(cloud.scales)[:, None, :]
    _, means, depths, conics, compensations = oracle._fully_fused_projection(
        torch.from_numpy(cloud.means.astype(np.float64)),
        torch.from_numpy(factors @ factors.transpose(0, 2, 1)),
        torch.from_numpy(view.viewmat[None]),
        torch.from_numpy(view.K[None]),
        view.width,
        view.height,
        eps2d=constants.EPS2D,
        near_plane=view.near,
        calc_compensations=True,
        camera_model=model,
    )
    at = splats.slots
    assert len(at) > 100
    assert np.abs(splats.means - means[0].numpy()[at]).max() < 1e-6 * np.abs(splats.means).max()
    expected = conics[0].numpy()[at]
    found = np.stack([splats.conics[:, 0, 0], splats.conics[:, 0, 1], splats.conics[:, 1, 1]], axis=1)
    assert np.abs(found - expected).max() < 1e-5
    raw = 1 / (1 + np.exp(-cloud.opacities[at].astype(np.float64)))
    assert np.abs(splats.opacities - raw * compensations[0].numpy()[at]).max() < 1e-5
    assert np.abs(splats.depths - depths[0].numpy()[at]).max() < 1e-6
    assert (np.diff(splats.depths) >= -1e-6).all()


def test_what_gsplat_culls_does_not_show() -> None:
    """Gaussians that gsplat drops by its bounding boxes cover no pixel by the alpha threshold either."""
    cloud = random_gaussians(300, 0, seed=3)
    cameras = around(cloud)
    view = view_of(cameras, 0)
    scene = prepare(cloud)
    _, sums = reference.blend(scene, view, "classic")
    covars = np.empty((300, 3, 3))
    for value, (i, j) in enumerate(reference.UPPER):
        covars[:, i, j] = covars[:, j, i] = scene.covars[:, value]
    radii = oracle._fully_fused_projection(
        torch.from_numpy(scene.means.astype(np.float64)),
        torch.from_numpy(covars),
        torch.from_numpy(view.viewmat[None]),
        torch.from_numpy(view.K[None]),
        view.width,
        view.height,
    )[0][0].numpy()
    dropped = (radii <= 0).any(axis=1)
    assert dropped.any()
    assert not sums.hits[dropped].any()
