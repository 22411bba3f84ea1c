# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exgs_blender.cameras import Cameras, read_cameras
from exgs_blender.cameras.trajectories import extent_of
from exgs_blender.evaluate.held_out import held_out_views, surrounds_viewer, training_views
from exgs_blender.evaluate.shifts import picture_shifts, typical_depths
from exgs_blender.splats import Gaussians

from ..clouds import random_gaussians


def _moved(cloud: Gaussians, means: np.ndarray) -> Gaussians:
    return Gaussians(means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh0, cloud.shN)


def _room() -> Gaussians:
    """Opaque walls of a cube around an empty middle."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (6000, 3))
    rows = np.arange(6000)
    points[rows, rows % 3] = np.sign(points[rows, rows % 3])
    return _moved(random_gaussians(6000, 0), points)


def _nearest_pose(a: Cameras, b: Cameras) -> float:
    """Smallest distance between a view of ``a`` and one of ``b``: of the eyes, plus the angle cosine's lack."""
    eyes = np.linalg.norm(a.positions()[:, None] - b.positions()[None], axis=-1)
    axes = 1 - np.einsum("ai,bi->ab", a.viewmats[:, 2, :3], b.viewmats[:, 2, :3])
    return float((eyes + axes).min())


@pytest.mark.parametrize("count", [1, 8, 24, 48])
@pytest.mark.parametrize("room", [False, True])
def test_generated_sets_share_no_view(count: int, room: bool) -> None:
    cloud = _room() if room else random_gaussians(2000, 0)
    train, judge = training_views(cloud, count=count), held_out_views(cloud)
    assert (len(train), len(judge)) == (count, 6)
    assert _nearest_pose(train, judge) > 0.01
    assert train.widths.min() >= 400
    assert len(set(train.names)) == count


def test_cameras_of_a_file_are_split(data_dir: Path) -> None:
    cameras = read_cameras(data_dir / "cameras" / "mipnerf360-bicycle.json")
    train, judge = training_views(random_gaussians(10), cameras, 24), held_out_views(random_gaussians(10), cameras)
    assert len(train) == 24
    assert len(training_views(random_gaussians(10), cameras)) == min(96, len(cameras) - len(judge))
    assert len(judge) == -(-len(cameras) // 8)
    assert not set(train.names) & set(judge.names)
    assert train.widths.min() >= 400
    assert len(held_out_views(random_gaussians(10), cameras, 5)) == 5


def test_few_cameras_are_all_used_and_filled_up_with_views_between_them() -> None:
    cloud = random_gaussians(100)
    few = held_out_views(cloud, count=5)
    views, judge = training_views(cloud, few, 24), held_out_views(cloud, few)
    assert len(views) == 24
    assert views.names[:4] == few.names[1:]
    assert len(set(views.names)) == 24
    shifts = picture_shifts(judge, views, typical_depths(cloud, judge))[0]
    assert shifts.min() == shifts[:4].min()  # none comes nearer to the judge than the file's own
    assert np.ptp(np.linalg.norm(views.positions(), axis=1)) > 0.01
    np.testing.assert_array_equal(training_views(cloud, few, 24).viewmats, views.viewmats)
    assert set(training_views(cloud, few, 3).names) <= set(few.names[1:])
    one = few.select([0])
    assert len(training_views(random_gaussians(100), one)) == 1


def test_orbits_frame_the_whole_and_not_the_densest_part() -> None:
    cloud = random_gaussians(4000, 0)
    means = cloud.means.copy()
    means[:3600, 1] = 1.0  # dense ground under a sparse figure
    extent = extent_of(_moved(cloud, means))
    assert abs(extent.centre[1]) < 0.3
    views = training_views(_moved(cloud, means), count=8)
    corners = np.array([[x, y, z, 1.0] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    in_view = np.einsum("cij,nj->cni", views.viewmats, corners)
    assert (in_view[:, :, 2] > 0).all()


def test_rooms_are_seen_from_inside() -> None:
    room = _room()
    assert surrounds_viewer(room, extent_of(room))
    assert not surrounds_viewer(random_gaussians(6000, 0), extent_of(random_gaussians(6000, 0)))
    assert np.linalg.norm(training_views(room).positions(), axis=1).max() < 0.5
    lying = _moved(room, room.means[:, [0, 2, 1]] * [1, 1, -1])  # the same room with +z up
    assert surrounds_viewer(lying, extent_of(lying, "+z"))
    ball = random_gaussians(6000, 0)
    assert np.linalg.norm(training_views(ball).positions(), axis=1).min() > 1


def test_an_empty_cloud_has_views() -> None:
    assert len(training_views(random_gaussians(0), count=4)) == 4
