# SPDX-License-Identifier: GPL-3.0-or-later
"""Fast against reference on real captures, small enough for the slow one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exgs_blender.cameras import read_cameras
from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.formats.registry import read
from exgs_blender.render.rasterize import rasterize

from .views import assert_same_image


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("level", ["5_0", "6_0"])
def test_playbot(data_dir: Path, level: str, mode: str) -> None:
    cloud = read(data_dir / "scenes" / "playbot" / level)
    cameras = orbit(extent_of(cloud), 2, width=121, height=90)
    expected = rasterize(cloud, cameras, 1, backend="reference", rasterize_mode=mode)
    assert expected.alpha.mean() > 0.3
    assert_same_image(rasterize(cloud, cameras, 1, backend="cpu", rasterize_mode=mode), expected)


def test_snowmiku_from_its_own_cameras(data_dir: Path) -> None:
    folder = data_dir / "scenes" / "snowmiku-trained"
    cloud = read(folder / "point_cloud.ply")
    some = cloud.select(np.random.default_rng(0).choice(len(cloud), 4000, replace=False))
    cameras = read_cameras(folder / "cameras_test.json").resized(160)
    expected = rasterize(some, cameras, 2, backend="reference")
    assert expected.alpha.mean() > 0.2
    assert_same_image(rasterize(some, cameras, 2, backend="cpu"), expected)
