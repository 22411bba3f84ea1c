# SPDX-License-Identifier: GPL-3.0-or-later
"""Stabilised frames do not depend on which frames were rendered before them, to the byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from exgs_blender.cameras import Cameras
from exgs_blender.cameras.trajectories import extent_of, turntable
from exgs_blender.sequence.render import SequenceSettings, render_sequence
from exgs_blender.sequence.steady import WINDOW, SteadyRestorer
from tests.clouds import random_gaussians
from tests.painters import save_wild_painter

FRAMES = 7
CLOUD = random_gaussians(2000, 1)
CLOUD = replace(CLOUD, opacities=np.full(len(CLOUD), 4.0, np.float32))
CAMERAS = turntable(extent_of(CLOUD), FRAMES, width=75, height=51, arc_degrees=8)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SequenceSettings:
    checkpoint = save_wild_painter(tmp_path_factory.mktemp("checkpoint") / "model")
    return SequenceSettings(format="exr", keep_ratio=0.05, checkpoint=str(checkpoint))


@pytest.fixture(scope="module")
def whole(settings: SequenceSettings, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """All frames, rendered at once."""
    return _pictures(tmp_path_factory.mktemp("whole"), settings)


def _pictures(folder: Path, settings: SequenceSettings, cameras: Cameras = CAMERAS) -> list[bytes]:
    return [path.read_bytes() for path in render_sequence(CLOUD, cameras, folder, settings).frames]


def test_it_does_something_after_the_first_frame(whole: list[bytes], settings: SequenceSettings, tmp_path: Path) -> None:
    alone = _pictures(tmp_path, replace(settings, temporal=False))
    assert [a == b for a, b in zip(whole, alone, strict=True)] == [True] + [False] * (FRAMES - 1)


def test_resuming_in_the_middle_gives_the_same_frames(whole: list[bytes], settings: SequenceSettings, tmp_path: Path) -> None:
    assert _pictures(tmp_path, settings) == whole
    for lost in (6, 3, 2):
        (tmp_path / f"{CAMERAS.names[lost]}.exr").unlink()
    result = render_sequence(CLOUD, CAMERAS, tmp_path, settings)
    assert result.rendered == 3
    assert [path.read_bytes() for path in result.frames] == whole


def test_backwards_one_by_one_gives_the_same_frames(whole: list[bytes], settings: SequenceSettings, tmp_path: Path) -> None:
    for last in reversed(range(FRAMES)):
        for name in CAMERAS.names[:last]:
            (tmp_path / f"{name}.exr").touch()  # another machine's
        (tmp_path / f"{CAMERAS.names[last]}.exr").unlink(missing_ok=True)
        assert render_sequence(CLOUD, CAMERAS, tmp_path, settings).rendered == 1
    assert [(tmp_path / f"{name}.exr").read_bytes() for name in CAMERAS.names] == whole


def test_frames_behind_a_cut_do_not_count(settings: SequenceSettings, tmp_path: Path) -> None:
    """Another shot before it changes nothing in a shot."""
    shot, other = CAMERAS.select(slice(0, 3)), turntable(extent_of(CLOUD), 3, width=75, height=51, arc_degrees=8, start_degrees=120)
    both = Cameras(
        viewmats=np.concatenate([other.viewmats, shot.viewmats]),
        Ks=np.concatenate([other.Ks, shot.Ks]),
        widths=np.full(6, 75),
        heights=np.full(6, 51),
        frames=np.arange(6),
        names=("a", "b", "c", *shot.names),
    )
    assert _pictures(tmp_path / "both", settings, both)[3:] == _pictures(tmp_path / "shot", settings, shot)


def test_with_and_without_are_not_mixed(settings: SequenceSettings, tmp_path: Path) -> None:
    render_sequence(CLOUD, CAMERAS.select([0]), tmp_path, settings)
    with pytest.raises(Exception, match="other settings"):
        render_sequence(CLOUD, CAMERAS, tmp_path, replace(settings, temporal=False))


def test_each_frame_is_restored_once_in_a_row() -> None:
    """Going forwards nothing is made anew, and no more than the window is remembered."""
    from exgs_blender.render.frame import Frame
    from exgs_blender.render.rasterize import rasterize

    made: list[int] = []
    again: list[int] = []

    def restore(frame: Frame) -> Frame:
        made.append(1)
        return replace(frame, rgb=frame.rgb * np.float32(0.5))

    def rasterized(view: Cameras) -> Frame:
        again.append(1)
        return rasterize(CLOUD, view)

    steady = SteadyRestorer(rasterized, restore)
    for i in range(FRAMES):
        steady(CAMERAS.select([i]), rasterize(CLOUD, CAMERAS, i), [CAMERAS.select([j]) for j in range(i - 1, -1, -1)])
        assert len(steady._changes) <= WINDOW + 1
    assert (len(made), len(again)) == (FRAMES, 0)
    steady = SteadyRestorer(rasterized, restore)
    for i in (5, 6):  # a chunk: its first frame brings the four before it along, which the next one then finds
        steady(CAMERAS.select([i]), rasterize(CLOUD, CAMERAS, i), [CAMERAS.select([j]) for j in range(i - 1, -1, -1)])
    assert len(again) == WINDOW
