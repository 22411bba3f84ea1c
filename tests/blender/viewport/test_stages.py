# SPDX-License-Identifier: GPL-3.0-or-later
"""From a quick look to the finished picture. No Blender needed."""

from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.blender.viewport.eye import Eye
from exgs_blender.blender.viewport.stages import reduced, stages
from exgs_blender.worker.protocol import RenderSettings


def _eye(width: int, height: int, *, ortho: bool = False) -> Eye:
    projection = np.eye(4)
    projection[0, 0], projection[1, 1], projection[0, 3 if ortho else 2] = 1.5, 2.0, 0.25
    if not ortho:
        projection[3, 2], projection[3, 3] = -1, 0
    view = np.eye(4)
    view[:3, 3] = 0.2, -0.3, -4
    return Eye(view, projection, width, height, near=0.1)


@pytest.mark.parametrize("restore", [False, True])
def test_stages_grow_finer_and_restore_last(restore: bool) -> None:
    found = stages(RenderSettings(restore=restore))
    assert [stage.coarseness for stage in found] == sorted((stage.coarseness for stage in found), reverse=True)
    assert found[-1].coarseness == 1
    assert [stage.restore for stage in found].count(True) == restore
    assert found[-1].restore == restore


@pytest.mark.parametrize("ortho", [False, True])
@pytest.mark.parametrize("coarseness", [1, 2, 4])
def test_a_coarse_view_shows_the_same_place_in_fewer_pixels(ortho: bool, coarseness: int) -> None:
    """Also for sizes that do not divide: a pixel of the coarse view is exactly ``coarseness`` squared of the fine one."""
    full = _eye(1049, 693, ortho=ortho).cameras
    coarse = reduced(full, coarseness)
    assert coarse.widths[0] == -(-1049 // coarseness)
    assert coarse.heights[0] == -(-693 // coarseness)
    point = full.viewmats[0] @ (0.3, 0.4, 0.5, 1)
    seen = np.append(point[:2] / (1 if ortho else point[2]), 1)
    places = [K[:2] @ seen for K in (full.Ks[0], coarse.Ks[0])]
    np.testing.assert_allclose(places[1] * coarseness, places[0])


@pytest.mark.parametrize("ortho", [False, True])
def test_the_worker_sees_what_the_graphics_card_draws(ortho: bool) -> None:
    eye = _eye(640, 480, ortho=ortho)
    world = np.array([0.5, 0.25, -0.75, 1.0])
    clip = eye.clip_from_world @ world
    expected = (0.5 + 0.5 * clip[0] / clip[3]) * 640, (0.5 - 0.5 * clip[1] / clip[3]) * 480
    camera = eye.cameras
    x, y, z, _ = camera.viewmats[0] @ world
    found = camera.Ks[0] @ ((x, y, 1) if ortho else (x / z, y / z, 1))
    assert camera.camera_model == ("ortho" if ortho else "pinhole")
    np.testing.assert_allclose(found[:2], expected)
