# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, whole: the command of the README on the built-in scene, with two small frames."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bpy", reason="the demo renders in Blender's Python module")
from exgs_blender.formats import read


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """(output folder, the result as a program sees it)."""
    output = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "exgs_blender.cli", "demo", "--output", str(output), "--frames", "2", "--size", "192"]
    done = subprocess.run([*command, "--progress", "json"], capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert {m["stage"] for m in messages[:-1]} >= {"bake the built-in scene", "score views", "render in Blender", "contact sheet"}
    return output, messages[-1]["result"]


def test_built_in_scene_is_large_enough(outcome: tuple[Path, dict]) -> None:
    cloud = read(outcome[0] / "builtin.ply")
    assert len(cloud) >= 150_000
    assert cloud.sh0.std() > 0.3  # textured and lit, not one colour


def test_asset_is_a_hundred_times_smaller(outcome: tuple[Path, dict]) -> None:
    output, result = outcome
    asset = Path(result["compress"]["target"])
    assert asset.parent == output
    assert read(output / "builtin.ply").ply_bytes / asset.stat().st_size >= 100
    assert result["psnr_pruned"] > 24


def test_restored_frames_are_not_worse(outcome: tuple[Path, dict]) -> None:
    assert outcome[1]["psnr_restored"] > outcome[1]["psnr_pruned"] - 0.05


def test_frames_differ_from_each_other_and_show_both_worlds(outcome: tuple[Path, dict]) -> None:
    from PIL import Image

    frames = [np.asarray(Image.open(path).convert("RGB")).astype(int) for path in outcome[1]["frames"]]
    assert len(frames) == 2
    assert frames[0].shape == (108, 192, 3)
    assert np.abs(frames[0] - frames[1]).mean() > 2
    for frame in frames:
        red, green, blue = (frame[..., i] for i in range(3))
        assert (blue > red + 15).mean() > 0.1  # Blender's sky behind the splats
        assert ((red > 120) & (red > blue + 30)).mean() > 0.01  # clay and gold
        assert not ((red > 250) & (green < 5) & (blue > 250)).any()  # the colour of a failed frame


def test_video_and_contact_sheet(outcome: tuple[Path, dict]) -> None:
    from PIL import Image

    output, result = outcome
    assert (output / "flythrough.mp4").read_bytes()[4:8] == b"ftyp"
    with Image.open(result["contact_sheet"]) as sheet:
        assert sheet.width > 4 * 192
        assert sheet.height > 108


def test_bad_capture_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.ply").write_text("hello")
    command = [sys.executable, "-m", "exgs_blender.cli", "demo", str(tmp_path / "bad.ply"), "--output", str(tmp_path / "out")]
    done = subprocess.run([*command, "--progress", "none"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "not a splat file" in done.stderr
