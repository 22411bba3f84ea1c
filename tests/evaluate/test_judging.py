# SPDX-License-Identifier: GPL-3.0-or-later
"""No view judges that was scored, whatever the file looks like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exgs_blender.cameras import Cameras
from exgs_blender.cameras.trajectories import extent_of, looking_at, orbit, turntable
from exgs_blender.evaluate.held_out import scoring_views, training_views
from exgs_blender.evaluate.judging import LEAST_SHIFT, Judges, judging_views
from exgs_blender.evaluate.shifts import picture_shifts, typical_depths
from exgs_blender.splats import Gaussians

from ..clouds import random_gaussians


@pytest.fixture(scope="module")
def cloud() -> Gaussians:
    return random_gaussians(2000, 0)


def _pan(count: int, degrees: float) -> Cameras:
    """A camera that stands still and turns."""
    angle = np.radians(np.linspace(0, degrees, count))
    eyes = np.tile([0.0, 0.0, -6.0], (count, 1))
    return looking_at(eyes, eyes + np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1), np.array([0.0, -1, 0]), 96, 64, 50)


def _zoomed(views: Cameras, factor: float) -> np.ndarray:
    Ks = views.Ks.copy()
    Ks[:, [0, 1], [0, 1]] *= factor
    return Ks


def _paths(cloud: Gaussians) -> dict[str, Cameras]:
    flight = turntable(extent_of(cloud), 40, width=96, height=64, arc_degrees=90)
    slow = turntable(extent_of(cloud), 200, width=96, height=64, arc_degrees=5)
    return {
        "flight": flight,
        "slow": slow,
        "pan": _pan(30, 60),
        "still": replace(flight.select([3] * 12), names=flight.names[:12]),
        "one frame": flight.select([3]),
        "two": flight.select([0, 1]),
        "orthographic": replace(flight, camera_model="ortho", Ks=_zoomed(flight, 0.15)),
        "scaled object": replace(flight, viewmats=flight.viewmats @ np.diag([2.0, 2, 2, 1])),
    }


def _nearest(judges: Judges, scored: Cameras, cloud: Gaussians) -> float:
    return float(picture_shifts(judges.cameras, scored, typical_depths(cloud, judges.cameras)).min())


@pytest.mark.parametrize("name", ["flight", "slow", "pan", "still", "one frame", "two", "orthographic", "scaled object"])
def test_judges_of_a_shot_are_no_frames_of_it(cloud: Gaussians, name: str) -> None:
    shot = _paths(cloud)[name]
    judges = judging_views(cloud, scoring_views(shot), shot, hold_out=False)
    assert judges.kind == "between"
    assert 1 <= len(judges.cameras) <= 8
    assert _nearest(judges, shot, cloud) >= LEAST_SHIFT
    assert min(judges.nearest) >= LEAST_SHIFT
    assert judges.cameras.widths.min() == 640
    assert len(set(judges.cameras.names)) == len(judges.cameras)
    apart = picture_shifts(judges.cameras, judges.cameras, typical_depths(cloud, judges.cameras))
    assert apart[~np.eye(len(apart), dtype=bool)].min(initial=1.0) > 1e-4, "two judges are the same view"
    if name in ("still", "one frame"):
        assert judges.moved == len(judges.cameras)
    if name in ("flight", "two", "scaled object"):
        assert judges.moved == 0


def test_half_way_is_half_way(cloud: Gaussians) -> None:
    """Between two frames of a circle: half the angle, both neighbours equally far, and the scale of the object's space kept."""
    shot = _paths(cloud)["scaled object"].select([0, 1])
    judges = judging_views(cloud, shot, shot, hold_out=False)
    middle, (first, second) = judges.cameras, (shot.select([0]), shot.select([1]))
    depths = typical_depths(cloud, middle)
    assert judges.moved == 0
    assert np.cbrt(np.linalg.det(middle.viewmats[0, :3, :3])) == pytest.approx(2)
    assert picture_shifts(middle, first, depths) == pytest.approx(picture_shifts(middle, second, depths))
    assert picture_shifts(middle, first, depths)[0, 0] == pytest.approx(picture_shifts(first, second, depths)[0, 0] / 2, rel=0.01)


def test_a_cut_is_not_bridged(cloud: Gaussians) -> None:
    path = orbit(extent_of(cloud), 5, width=96, height=64)  # every view looks from another side
    judges = judging_views(cloud, path, path, hold_out=False)
    eyes = np.linalg.norm(judges.cameras.positions()[:, None] - path.positions()[None], axis=2).min(axis=1)
    assert eyes.max() < 0.1 * extent_of(cloud).radius
    assert judges.moved == len(judges.cameras)


@pytest.mark.parametrize("views", [0, 3, 24, 50])
def test_generated_judges(cloud: Gaussians, views: int) -> None:
    scored = training_views(cloud, None, views or None)
    judges = judging_views(cloud, scored)
    assert (judges.kind, judges.scored, len(judges.cameras)) == ("generated", len(scored), 8)
    assert _nearest(judges, scored, cloud) >= LEAST_SHIFT


def test_every_eighth_of_a_file_even_where_it_holds_a_view_twice(cloud: Gaussians) -> None:
    file = turntable(extent_of(cloud), 33, width=96, height=64)
    twice = replace(file.select([0, 0, *range(1, 33)]), names=tuple(f"{i:03d}" for i in range(34)))
    scored = training_views(cloud, twice)
    judges = judging_views(cloud, scored, twice)
    assert judges.kind == "held-out"
    assert judges.cameras.names == ("000", "008", "016", "024", "032")
    assert not set(judges.cameras.names) & set(scored.names)
    assert judges.moved == 1, "view 001 is view 000 under another name"
    assert _nearest(judges, scored, cloud) >= LEAST_SHIFT


def test_one_camera_is_scored_and_moved_copies_judge(cloud: Gaussians) -> None:
    one = turntable(extent_of(cloud), 1, width=96, height=64)
    judges = judging_views(cloud, training_views(cloud, one), one)
    assert (judges.kind, len(judges.cameras), judges.moved) == ("between", 4, 4)


def test_shift_is_what_the_picture_does(cloud: Gaussians) -> None:
    """A point at the typical depth moves by about the shift that is told: a turn, a step, a zoom."""
    depth, view = np.array([6.0]), _pan(1, 0)
    turned, zoomed = _pan(2, 3).select([1]), replace(view, Ks=_zoomed(view, 1.1))
    stepped = replace(view, viewmats=view.viewmats + np.array([[0, 0, 0, 0.3], [0] * 4, [0] * 4, [0] * 4]))
    focal = float(view.Ks[0, 0, 0] / 96)
    assert picture_shifts(view, turned, depth)[0, 0] == pytest.approx(focal * np.radians(3), rel=1e-6)
    assert picture_shifts(view, stepped, depth)[0, 0] == pytest.approx(focal * 0.3 / 6, rel=1e-6)
    assert picture_shifts(view, zoomed, depth)[0, 0] == pytest.approx(0.05, rel=1e-6)
    assert picture_shifts(view, view, depth)[0, 0] == 0


def test_an_empty_cloud_is_judged_too() -> None:
    empty = random_gaussians(0)
    assert len(judging_views(empty, training_views(empty, count=4)).cameras) == 8
