# SPDX-License-Identifier: GPL-3.0-or-later
"""COLMAP models in and out: focal length ignored, COLMAP paths in and out (KIRI #15, supersplat #628)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from exgs_blender.cameras import Cameras, read_cameras, write_colmap, write_transforms
from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.errors import FileError
from tests.clouds import random_gaussians


def _views(count: int = 5) -> Cameras:
    views = orbit(extent_of(random_gaussians(100)), count, width=64, height=48)
    views.Ks[:, 0, 0] *= 1.1  # not square, not centred, each another
    views.Ks[:, 0, 2] += np.arange(count)
    return views


def _same(found: Cameras, expected: Cameras) -> None:
    np.testing.assert_allclose(found.viewmats, expected.viewmats, atol=1e-9)
    np.testing.assert_allclose(found.Ks, expected.Ks, atol=1e-9)
    assert found.names == expected.names
    assert (found.widths == expected.widths).all()


def _binary(folder: Path, views: Cameras, model: tuple[int, int] = (1, 4)) -> None:
    """The same model in COLMAP's binary layout (documentation, "Output Format"), with two points an image."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras, images = struct.pack("<Q", len(views)), struct.pack("<Q", len(views))
    for i, (viewmat, K) in enumerate(zip(views.viewmats, views.Ks, strict=True)):
        parameters = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *[0.0] * (model[1] - 4)]
        cameras += struct.pack("<iiQQ", i + 7, model[0], views.widths[i], views.heights[i]) + struct.pack(f"<{model[1]}d", *parameters)
        line = (folder.parent / "text" / "images.txt").read_text().splitlines()[1 + 2 * i].split()
        quat = [float(word) for word in line[1:5]]
        images += struct.pack("<I7dI", i + 1, *quat, *viewmat[:3, 3], i + 7) + f"photos/{views.names[i]}.JPG".encode() + b"\0"
        images += struct.pack("<Q", 2) + b"\0" * 48
    (folder / "cameras.bin").write_bytes(cameras)
    (folder / "images.bin").write_bytes(images)


def test_text_and_binary(tmp_path: Path) -> None:
    views = _views()
    write_colmap(tmp_path / "text", views)
    _same(read_cameras(tmp_path / "text"), views)
    _binary(tmp_path / "binary", views)
    _same(read_cameras(tmp_path / "binary"), views)
    _same(read_cameras(tmp_path / "binary" / "images.bin"), views)
    _binary(tmp_path / "opencv", views, model=(4, 8))
    _same(read_cameras(tmp_path / "opencv"), views)
    nested = tmp_path / "project" / "sparse"
    nested.mkdir(parents=True)
    (tmp_path / "binary").rename(nested / "0")
    _same(read_cameras(tmp_path / "project"), views)


def test_the_axes_are_those_of_the_format(tmp_path: Path) -> None:
    """By hand: half a turn about y, then two along +z: the centre is at (0, 0, 2), looking along -z."""
    (tmp_path / "cameras.txt").write_text("# comment\n3 SIMPLE_RADIAL 640 480 500 320 240 0.1\n")
    (tmp_path / "images.txt").write_text("# comment\n1 0 0 1 0 0 0 2 3 a b.png\n1.0 2.0 -1 3 4 5\n2 1 0 0 0 0 0 0 3 b.png\n\n")
    views = read_cameras(tmp_path)
    assert views.names == ("a_b", "b")
    np.testing.assert_allclose(views.positions()[0], [0, 0, 2], atol=1e-12)
    np.testing.assert_allclose(views.viewmats[0] @ [0, 0, -1, 1], [0, 0, 3, 1], atol=1e-12)
    np.testing.assert_allclose(views.Ks[1], [[500, 0, 320], [0, 500, 240], [0, 0, 1]])


def test_transforms_round_trip(tmp_path: Path) -> None:
    views = _views()
    write_transforms(tmp_path / "transforms.json", views)
    _same(read_cameras(tmp_path / "transforms.json"), views)


CAMERA = "1 PINHOLE 64 48 50 50 32 24\n"
IMAGE = "1 1 0 0 0 0 0 0 1 a.png\n\n"


@pytest.mark.parametrize(
    ("cameras", "images", "expected"),
    [
        ("1 PINHOLE 64 48 50 50 32\n", IMAGE, "3 parameters, expected 4"),
        ("1 PINHOLE 64\n", IMAGE, "line 1"),
        ("1 PINHOLE 64 48 -50 50 32 24\n", IMAGE, "must be positive"),
        ("1 PINHOLE 0 48 50 50 32 24\n", IMAGE, "must be positive"),
        ("1 PINHOLE 64 48 nan 50 32 24\n", IMAGE, "must be positive"),
        ("1 OPENCV_FISHEYE 64 48 50 50 32 24 0 0 0 0\n", IMAGE, "fisheye"),
        ("1 MAGIC 64 48 50\n", IMAGE, "unknown"),
        (CAMERA, "", "holds no cameras"),
        (CAMERA, "1 1 0 0 0 0 0 0 2 a.png\n\n", "camera 2, which the cameras file lacks"),
        (CAMERA, "1 1 0 0 0 0 0\n\n", "line 1"),
        (CAMERA, "1 0 0 0 0 0 0 0 1 a.png\n\n", "no rotation"),
        (CAMERA, "1 nan 0 0 0 0 0 0 1 a.png\n\n", "no rotation"),
    ],
)
def test_bad_text(tmp_path: Path, cameras: str, images: str, expected: str) -> None:
    (tmp_path / "cameras.txt").write_text(cameras)
    (tmp_path / "images.txt").write_text(images)
    with pytest.raises(FileError, match=expected) as caught:
        read_cameras(tmp_path)
    assert "\n" not in str(caught.value)


def test_bad_binary(tmp_path: Path) -> None:
    """Cut at every byte: always one line that names the file."""
    views = _views(1)
    write_colmap(tmp_path / "text", views)
    _binary(tmp_path / "binary", views)
    for name in ("cameras.bin", "images.bin"):
        whole = (tmp_path / "binary" / name).read_bytes()
        for length in range(len(whole)):
            (tmp_path / "binary" / name).write_bytes(whole[:length])
            with pytest.raises(FileError, match=r"ends within|holds no"):
                read_cameras(tmp_path / "binary")
        for wrong, what in (
            (b"\xff" * 8 + whole[8:], "ends within"),
            (whole[:8] + b"\xff" * len(whole[8:]), r"ends within|cannot be used"),
        ):
            (tmp_path / "binary" / name).write_bytes(wrong)
            with pytest.raises(FileError, match=what):
                read_cameras(tmp_path / "binary")
        (tmp_path / "binary" / name).write_bytes(whole)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not a readable"):
        read_cameras(tmp_path)
