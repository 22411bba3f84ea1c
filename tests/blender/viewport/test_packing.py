# SPDX-License-Identifier: GPL-3.0-or-later
"""Texture rows: every value where the shader looks for it. No Blender needed."""

from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.blender.viewport import packing
from exgs_blender.blender.viewport.packing import PackedCloud
from exgs_blender.splats import SplatObject
from exgs_blender.splats.activation import opacity_from_logit, scale_from_log
from exgs_blender.splats.gaussians import SH_COEFFICIENTS, Gaussians
from tests.clouds import random_gaussians

prepared = pytest.importorskip("exgs_blender.render.prepared")


def packed(cloud: Gaussians) -> PackedCloud:
    coefficients = np.concatenate([cloud.sh0, cloud.shN], axis=1)
    return packing.pack_cloud(cloud.means, cloud.quats, scale_from_log(cloud.scales), opacity_from_logit(cloud.opacities), coefficients)


def test_geometry_is_what_the_renderers_prepare() -> None:
    cloud = random_gaussians(1000, 1)
    texels = packed(cloud).geometry.reshape(-1, 12)
    expected = prepared.prepare([SplatObject(cloud)])
    np.testing.assert_array_equal(texels[:1000, :3], cloud.means)
    np.testing.assert_allclose(texels[:1000, 3], expected.opacities, rtol=1e-6)
    np.testing.assert_allclose(texels[:1000, 4:10], expected.covars, rtol=2e-4, atol=1e-9)
    assert not texels[1000:].any(), "rows are not filled up with nothing"


@pytest.mark.parametrize("degree", range(5))
def test_coefficients_lie_in_groups_of_four(degree: int) -> None:
    clouds = {"b": packed(random_gaussians(800, degree)), "a": packed(random_gaussians(5, max(degree - 1, 0), seed=1))}
    atlas = packing.pack_atlas(clouds, 4)
    assert atlas.degree == degree
    assert atlas.first_rows == {"a": 0, "b": 1}, "each cloud begins at a row of its own"
    assert atlas.geometry.shape[0] == atlas.harmonics.shape[0] == 3
    texels = packing.harmonics_texels(degree)
    assert atlas.harmonics.shape[1] == packing.SPLATS_PER_ROW * texels <= packing.MAX_ROWS
    values = atlas.harmonics.reshape(-1, texels * 4)[packing.SPLATS_PER_ROW + 777]
    np.testing.assert_array_equal(values[: 3 * SH_COEFFICIENTS[degree]], clouds["b"].coefficients[777].ravel())


def test_a_lower_limit_drops_bands() -> None:
    atlas = packing.pack_atlas({"a": packed(random_gaussians(10, 3))}, 1)
    assert atlas.degree == 1
    assert atlas.harmonics.shape[1] == packing.SPLATS_PER_ROW * 3


def test_nothing_to_draw() -> None:
    atlas = packing.pack_atlas({}, 3)
    assert atlas.geometry.shape[0] == 1
    assert packing.pack_order(np.zeros((0, 2), np.float32)).shape == (1, packing.ORDER_WIDTH, 2)
    assert len(packing.pack_instances(np.eye(4), [], [], ortho=False)) == 1


def test_clouds_beyond_the_largest_texture_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """XScene-UEPlugin #89: a scene that is too large must not crash."""
    monkeypatch.setattr(packing, "MAX_ROWS", 2)
    clouds = {name: packed(random_gaussians(900, 0)) for name in "ab"}
    atlas = packing.pack_atlas(clouds, 3)
    assert atlas.left_out == ("b",)
    assert set(atlas.first_rows) == {"a"}


def test_values_that_are_not_finite_are_invisible_and_keep_their_place() -> None:
    cloud = random_gaussians(10, 1)
    cloud.means[2, 0], cloud.scales[3, 1], cloud.shN[4, 0, 0] = np.nan, np.inf, np.nan
    texels = packed(cloud)
    assert np.isfinite(texels.geometry).all()
    assert np.isfinite(texels.coefficients).all()
    np.testing.assert_array_equal(np.flatnonzero(texels.geometry.reshape(-1, 12)[:10, 3] == 0), [2, 4])
    assert len(texels) == 10


def test_an_instance_sees_the_camera_in_its_own_space() -> None:
    world_from_object = np.diag([2.0, 1.0, -0.5, 1.0])
    world_from_object[:3, 3] = 1, 2, 3
    view_from_world = np.eye(4)
    view_from_world[:3, 3] = 0, -1, -7  # the camera is at (0, 1, 7)
    texels = packing.pack_instances(view_from_world, [world_from_object], [5], ortho=False)[0]
    np.testing.assert_allclose(world_from_object[:3, :3] @ texels[3, :3] + world_from_object[:3, 3], (0, 1, 7), atol=1e-6)
    np.testing.assert_allclose(texels[:3] @ (1, 1, 1, 1), (view_from_world @ world_from_object @ (1, 1, 1, 1))[:3])
    assert texels[4, 0] == 5
    direction = packing.pack_instances(view_from_world, [world_from_object], [5], ortho=True)[0, 3, :3]
    np.testing.assert_allclose(direction, (0, 0, 2), atol=1e-6)
