# SPDX-License-Identifier: GPL-3.0-or-later
"""Per-Gaussian statistics against the reference and against what they must satisfy."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from exgs_blender.render import cpu_backend, reference
from exgs_blender.render.contribution import blend_statistics
from exgs_blender.render.prepared import prepare
from exgs_blender.render.rasterize import rasterize
from exgs_blender.render.view import view_of
from exgs_blender.splats import SplatObject
from exgs_blender.splats.gaussians import F32
from tests.clouds import random_gaussians

from .views import around


@pytest.mark.parametrize("ortho", [False, True], ids=["pinhole", "ortho"])
@pytest.mark.parametrize("mode", ["classic", "antialiased"])
def test_equal_reference(mode: str, ortho: bool) -> None:
    cloud = random_gaussians(600, 1, seed=11)
    cameras = around(cloud, 3, ortho=ortho)
    found = blend_statistics(cloud, cameras, rasterize_mode=mode)
    scene = prepare(cloud)
    views = [view_of(cameras, i) for i in range(3)]
    sums = [reference.blend(scene, view, mode)[1] for view in views]
    assert found.pixels == 3 * 131 * 93
    for name, values in {
        "weight_sum": sum(s.weight for s in sums),
        "weight_max": np.max([s.weight_max for s in sums], axis=0),
        "transmittance_sum": sum(s.transmittance for s in sums),
        "weight_transmittance_sum": sum(s.weight_transmittance for s in sums),
        "blur_sum": sum(s.blur for s in sums),
    }.items():
        # A pixel at the threshold of alpha may count in one and not in the other: up to 1/255 of weight, 1 of T.
        slack = {"weight_sum": 0.01, "transmittance_sum": 1.01}.get(name, 1e-3)
        assert np.abs(getattr(found, name) - values).max() < slack + 1e-4 * values.max(), name
    assert np.abs(found.hits - sum(s.hits for s in sums)).max() <= 1


def test_weights_add_up_to_alpha() -> None:
    cloud = random_gaussians(500, 0, seed=12)
    cameras = around(cloud, 2)
    found = blend_statistics(cloud, cameras)
    alpha = sum(float(rasterize(cloud, cameras, i, backend="cpu").alpha.sum(dtype=np.float64)) for i in range(2))
    assert found.weight_sum.sum(dtype=np.float64) == pytest.approx(alpha, rel=1e-4)
    assert found.weight_max.max() <= 0.999 + 1e-6
    assert (found.weight_sum <= found.transmittance_sum + 1e-4).all()
    assert (found.transmittance_sum <= found.hits + 1e-3).all()


def test_hidden_gaussians_have_no_weight() -> None:
    cloud = random_gaussians(500, 0, seed=13)
    found = blend_statistics(cloud, around(cloud, 1, distance=1.0))
    assert (found.hits == 0).any()
    assert not found.weight_sum[found.hits == 0].any()
    assert not found.weight_max[found.hits == 0].any()


def test_small_groups_of_tiles_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = random_gaussians(500, 0, seed=14)
    cameras = around(cloud, 1)
    whole = blend_statistics(cloud, cameras)
    monkeypatch.setattr(cpu_backend, "MEASURED_PAIRS", 100)
    assert np.array_equal(blend_statistics(cloud, cameras).weight_sum, whole.weight_sum)


def test_frames_are_the_rendered_ones() -> None:
    cloud = random_gaussians(400, 2, seed=16)
    cameras = around(cloud, 2)
    seen: dict[int, tuple[F32, F32]] = {}
    with_frames = blend_statistics(prepare(cloud), cameras, frames=lambda index, rgb, alpha: seen.update({index: (rgb, alpha)}))
    for index in range(2):
        frame = rasterize(cloud, cameras, index, backend="cpu")
        assert np.abs(seen[index][0] - frame.rgb).max() < 1e-5
        assert np.abs(seen[index][1] - frame.alpha).max() < 1e-5
    assert np.array_equal(with_frames.weight_sum, blend_statistics(cloud, cameras).weight_sum)


def test_threads_do_not_change_the_sums() -> None:
    cloud = random_gaussians(500, 1, seed=17)
    cameras = around(cloud, 2)
    one, every = blend_statistics(cloud, cameras, threads=1), blend_statistics(cloud, cameras)
    for field in fields(one):
        assert np.array_equal(getattr(one, field.name), getattr(every, field.name)), field.name


def test_nothing_in_view() -> None:
    cloud = random_gaussians(50, 0, seed=18)
    cameras = around(cloud, 1)
    away = cameras.viewmats.copy()
    away[:, 2] *= -1
    away[:, 0] *= -1
    found = blend_statistics(cloud, replace(cameras, viewmats=away))
    assert not found.hits.any()
    assert not found.weight_sum.any()


def test_blur_is_the_world_area_of_a_pixel() -> None:
    """A scene twice as large, seen from twice as far, has the same weights and four times the blur."""
    cloud = random_gaussians(200, 0, seed=15)
    cameras = around(cloud, 1)
    twice = SplatObject(cloud, np.diag([2.0, 2, 2, 1]))
    viewmats = cameras.viewmats.copy()
    viewmats[:, :3, 3] *= 2
    small, large = blend_statistics(cloud, cameras), blend_statistics(twice, replace(cameras, viewmats=viewmats))
    assert np.allclose(large.weight_sum, small.weight_sum, atol=0.02, rtol=1e-3)
    assert large.blur_sum.sum() == pytest.approx(4 * small.blur_sum.sum(), rel=1e-3)
