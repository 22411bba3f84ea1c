# SPDX-License-Identifier: GPL-3.0-or-later
"""Our cameras against Blender's own projection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exgs_blender.cameras import read_cameras
from exgs_blender.formats import read
from exgs_blender.render.rasterize import rasterize

from .harness import RunInBlender
from .images import read_layers, read_png, srgb_from_linear

pytestmark = pytest.mark.blender


def test_random_cameras_project_as_blender_does(blender: RunInBlender) -> None:
    found = blender("random_cameras", count=240)
    assert found["worst"] < 0.01
    assert found["median"] > 0, "no point was inside any image"
    assert "no camera" in found["refusals"][0]
    assert "PANO" in found["refusals"][1]


def test_camera_files_in_and_out(blender: RunInBlender, worker_environment: dict[str, str], data_dir: Path, tmp_path: Path) -> None:
    """Complaints of others: focal length ignored, camera paths in and out (KIRI #15; supersplat #628). The picture through an imported
    camera is the capture's own view, and like the photo."""
    scene = data_dir / "scenes" / "banana-trained"
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    files = {"capture": scene / "point_cloud.ply", "cameras": scene / "cameras_test.json", "bad": bad}
    found = blender("capture_cameras", environment=worker_environment, percent=50, **{name: str(path) for name, path in files.items()})
    for place in ("plain", "with capture"):
        assert max(found[place].values()) < 2e-3, found[place]
    assert found["set"]["names"] == [f"{i:04d}" for i in range(1, 6)]
    assert found["set"]["apart"] < 2e-3
    assert found["set"]["active"] == "0001"
    assert "unevenly" in found["lines"]["uneven"]
    assert "not a camera file" in found["lines"]["bad"]
    _check_picture(read_layers(found["picture"])["Combined"], scene)


def _check_picture(image: np.ndarray, scene: Path) -> None:
    Image = pytest.importorskip("PIL.Image")
    seen = srgb_from_linear(np.clip(image[..., :3], 0, 1))
    views = read_cameras(scene / "cameras_test.json").select([0])
    small = views.resized(max(seen.shape[:2]))
    assert (int(small.heights[0]), int(small.widths[0])) == seen.shape[:2]
    own = np.clip(rasterize(read(scene / "point_cloud.ply"), small, backend="cpu").rgb, 0, 1)
    # Blender keeps camera matrices in single precision: a hundredth of a pixel is left over.
    assert _psnr(seen, own) > 50
    with Image.open(next((scene / "test_photos").glob(f"*{views.names[0]}*"))) as photo:
        real = np.asarray(photo.convert("RGB").resize(seen.shape[1::-1]), np.float32) / 255
    assert _psnr(seen, real) > 20, "not the picture that the photo shows"


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(a - b).mean()))


def test_the_ten_lines_of_the_readme(blender: RunInBlender, worker_environment: dict[str, str], tmp_path: Path) -> None:
    found = blender("ten_lines", environment=worker_environment, readme=str(Path(__file__).resolve().parents[2] / "README.md"))
    assert found["lines"] == 10
    assert len(read_cameras(tmp_path / "shot.json")) == 2
    assert len(read(tmp_path / "capture.spz")) == len(read(tmp_path / "capture.ply"))
    first, second = (read_png(path) for path in sorted((tmp_path / "frames").glob("*.png")))
    assert first.shape[:2] == (48, 64)
    assert np.abs(first[..., :3] - second[..., :3]).mean() > 1, "both frames are the same"
