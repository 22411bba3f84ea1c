# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exgs_blender.cameras import Cameras, read_cameras, write_cameras
from exgs_blender.cameras.conventions import (
    FLIP_YZ,
    BlenderLens,
    K_from_blender,
    cam_from_world_from_blender,
    lens_from_K,
    matrix_world_from_cam_from_world,
    project,
)
from exgs_blender.cameras.names import safe_name
from exgs_blender.cameras.trajectories import extent_of, flight, orbit, turntable
from exgs_blender.errors import ExgsError, FileError
from tests.clouds import random_gaussians


def _orbit(count: int = 5) -> Cameras:
    return orbit(extent_of(random_gaussians(100)), count, width=64, height=48)


def test_orbit_looks_at_the_centre() -> None:
    extent = extent_of(random_gaussians(500))
    cameras = orbit(extent, 12, width=64, height=48)
    for viewmat, K in zip(cameras.viewmats, cameras.Ks, strict=True):
        pixel, depth = project(extent.centre[None], viewmat, K)
        assert np.allclose(pixel, [32, 24], atol=1e-6)
        assert np.isclose(depth, extent.radius * 2.2)
        above, _ = project((extent.centre + 0.1 * extent.radius * extent.up)[None], viewmat, K)
        assert above[0, 1] < 24  # up is up in the picture
        assert np.allclose(viewmat[:3, :3] @ viewmat[:3, :3].T, np.eye(3), atol=1e-12)


def test_two_phases_share_no_view() -> None:
    extent = extent_of(random_gaussians(100))
    a, b = orbit(extent, 16), orbit(extent, 8, phase=0.5)
    distance = np.linalg.norm(a.positions()[:, None] - b.positions()[None], axis=2)
    assert distance.min() > 0.05 * extent.radius


def test_extent_ignores_floaters() -> None:
    cloud = random_gaussians(1000)
    cloud.means[:8] *= 1000
    assert extent_of(cloud).radius < 2


def test_flight_passes_through_its_keys() -> None:
    cameras = turntable(extent_of(random_gaussians(100)), 6)
    path = flight(cameras, 11, width=64, height=36)
    assert len(path) == 11
    assert np.allclose(path.positions()[::2], cameras.positions(), atol=1e-9)
    assert len(np.unique(path.positions().round(6), axis=0)) == 11


def test_own_file_round_trip(tmp_path: Path) -> None:
    cameras = _orbit()
    write_cameras(tmp_path / "shot.json", cameras)
    again = read_cameras(tmp_path / "shot.json")
    for name in ("viewmats", "Ks", "widths", "heights", "frames"):
        assert np.array_equal(getattr(again, name), getattr(cameras, name))
    assert again.names == cameras.names
    assert again.near_plane == cameras.near_plane


def test_inria_and_transforms_agree(tmp_path: Path) -> None:
    """The same poses written in both conventions are the same cameras."""
    cameras = _orbit()
    world_from_cam = cameras.world_from_cam()
    inria = [
        {
            "id": i,
            "img_name": f"a/photo {i}.JPG",
            "width": 64,
            "height": 48,
            "position": world_from_cam[i, :3, 3].tolist(),
            "rotation": world_from_cam[i, :3, :3].tolist(),
            "fx": cameras.Ks[i, 0, 0],
            "fy": cameras.Ks[i, 1, 1],
        }
        for i in range(len(cameras))
    ]
    nerf = {
        "camera_angle_x": 2 * np.arctan(32 / cameras.Ks[0, 0, 0]),
        "w": 64,
        "h": 48,
        "frames": [
            {"file_path": f"./train/photo {i}.png", "transform_matrix": (world_from_cam[i] @ FLIP_YZ).tolist()} for i in range(len(cameras))
        ],
    }
    (tmp_path / "cameras.json").write_text(json.dumps(inria))
    (tmp_path / "transforms.json").write_text(json.dumps(nerf))
    a, b = read_cameras(tmp_path / "cameras.json"), read_cameras(tmp_path / "transforms.json")
    assert np.allclose(a.viewmats, cameras.viewmats, atol=1e-9)
    assert np.allclose(b.viewmats, cameras.viewmats, atol=1e-9)
    assert np.allclose(a.Ks, b.Ks)
    assert a.names == b.names == tuple(f"photo_{i}" for i in range(5))
    assert a.near_plane == 0.2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "not a readable JSON"),
        ("[]", "no cameras"),
        ("{}", "not a camera file"),
        ('[{"width": 3}]', "lacks the field"),
        ('[{"position": [0,0], "rotation": 3, "width": 1, "height": 1, "fx": 1, "fy": 1}]', "wrong kind"),
        ('{"frames": [{"transform_matrix": [[0]]}]}', "wrong kind"),
        ('{"format": "exgs-cameras", "version": 99, "cameras": []}', "version 99"),
    ],
)
def test_bad_camera_files(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "cameras.json"
    path.write_text(content)
    with pytest.raises(FileError, match=expected) as caught:
        read_cameras(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_camera_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        read_cameras(tmp_path / "none.json")


def test_real_camera_files(data_dir: Path) -> None:
    room = read_cameras(data_dir / "cameras" / "mipnerf360-room.json")
    assert len(room) == 311
    assert len(set(room.names)) == 311


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "C:\\x\\y.png", "", "a/b/c.jpg", "x" * 500])
def test_names_cannot_leave_the_folder(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert "/" not in safe
    assert "\\" not in safe
    assert safe not in (".", "..")
    assert len(safe) <= 120


def test_duplicate_names_stay_apart(tmp_path: Path) -> None:
    cameras = _orbit(2)
    views = [
        {
            "img_name": "same",
            "width": 4,
            "height": 4,
            "position": [0, 0, i],
            "rotation": np.eye(3).tolist(),
            "fx": 1,
            "fy": 1,
        }
        for i in range(len(cameras))
    ]
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps(views))
    assert len(set(read_cameras(path).names)) == 2


@pytest.mark.parametrize("size", [(64, 48), (63, 85)])
def test_lens_and_back(size: tuple[int, int]) -> None:
    K = np.array([[80.0, 0, 30], [0, 92.0, 27], [0, 0, 1]])
    lens = lens_from_K(K, *size)
    assert np.allclose(K_from_blender(lens), K)
    assert lens.pixel_aspect_x >= 1
    assert lens.pixel_aspect_y >= 1


def test_pose_and_back_with_scaled_camera() -> None:
    viewmat = _orbit().viewmats[2]
    world = matrix_world_from_cam_from_world(viewmat) @ np.diag([2.0, 3.0, 0.5, 1.0])
    assert np.allclose(cam_from_world_from_blender(world), viewmat)


def test_resized_keeps_the_field_of_view() -> None:
    cameras = _orbit()
    small = cameras.resized(32)
    assert (small.widths[0], small.heights[0]) == (32, 24)
    assert np.allclose(small.Ks[:, 0, 0] / 32, cameras.Ks[:, 0, 0] / 64)


def test_orthographic_extent() -> None:
    K = K_from_blender(BlenderLens(100, 50, type="ORTHO", ortho_scale=4.0))
    assert np.isclose(K[0, 0], 25)


def test_cameras_name_the_bad_field() -> None:
    cameras = _orbit(2)
    with pytest.raises(ExgsError, match="'Ks'"):
        Cameras(cameras.viewmats, cameras.Ks[:1], cameras.widths, cameras.heights, cameras.frames, cameras.names)
    with pytest.raises(ExgsError, match="finite"):
        Cameras(cameras.viewmats * np.nan, cameras.Ks, cameras.widths, cameras.heights, cameras.frames, cameras.names)
