# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exgs_blender.cameras.trajectories import extent_of, turntable
from exgs_blender.errors import CancelledError, ExgsError, FileError
from exgs_blender.render.frame import Backend, Frame
from exgs_blender.sequence.finish import rgb_over, rgba8_straight, rgba_linear
from exgs_blender.sequence.images import write_exr, write_png
from exgs_blender.sequence.render import SequenceSettings, render_sequence
from tests.clouds import random_gaussians

CLOUD = random_gaussians(300, 1)
CAMERAS = turntable(extent_of(CLOUD), 4, width=45, height=31)
RAW = SequenceSettings(restore=False)


def _frame(alpha: float = 1.0, colour: float = 0.5) -> Frame:
    shape = (5, 7)
    return Frame(
        rgb=np.full((*shape, 3), colour * alpha, np.float32),
        alpha=np.full(shape, alpha, np.float32),
        depth=np.full(shape, 2.0, np.float32),
        backend=Backend("cpu", "test"),
    )


def test_opaque_colour_decodes_exactly() -> None:
    linear = rgba_linear(_frame(1.0, 0.5))[0, 0]
    assert np.allclose(linear, [0.21404114, 0.21404114, 0.21404114, 1.0], atol=1e-6)


def test_half_transparent_has_no_dark_halo() -> None:
    """Straight colour decodes first, then alpha multiplies."""
    linear = rgba_linear(_frame(0.25, 0.5))[0, 0]
    assert np.allclose(linear[:3], 0.25 * 0.21404114, atol=1e-6)
    assert np.array_equal(rgba8_straight(_frame(0.25, 0.5))[0, 0], [128, 128, 128, 64])


def test_over_a_background() -> None:
    assert np.allclose(rgb_over(_frame(0.25, 0.4), (1.0, 1.0, 1.0)), 0.25 * 0.4 + 0.75)


def test_exr_holds_all_passes(tmp_path: Path) -> None:
    import OpenEXR

    frame, restored = _frame(0.5, 0.5), _frame(1.0, 0.5)
    write_exr(tmp_path / "f.exr", frame, restored)
    with OpenEXR.File(str(tmp_path / "f.exr"), separate_channels=True) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    expected = {f"Splat.{layer}.{c}" for layer in ("Combined", "Unrestored") for c in "RGBA"} | {"Splat.Depth.Z", "Splat.Mask.V"}
    assert set(channels) == expected
    assert np.array_equal(channels["Splat.Combined.R"], rgba_linear(restored)[..., 0])
    assert np.array_equal(channels["Splat.Unrestored.A"], frame.alpha)
    assert np.array_equal(channels["Splat.Depth.Z"], restored.depth)
    assert np.allclose(channels["Splat.Mask.V"], 0.5)


def test_png_holds_straight_alpha(tmp_path: Path) -> None:
    from PIL import Image

    write_png(tmp_path / "f.png", _frame(0.25, 0.5))
    with Image.open(tmp_path / "f.png") as image:
        assert image.mode == "RGBA"
        assert image.size == (7, 5)
        assert image.getpixel((0, 0)) == (128, 128, 128, 64)


def test_sequence_is_complete_and_resumes(tmp_path: Path) -> None:
    result = render_sequence(CLOUD, CAMERAS, tmp_path, RAW)
    assert [p.name for p in result.frames] == ["0001.png", "0002.png", "0003.png", "0004.png"]
    pictures = [p.read_bytes() for p in result.frames]
    assert len(set(pictures)) == 4
    result.frames[2].unlink()
    stamps = [p.stat().st_mtime_ns for p in result.frames if p.exists()]
    again = render_sequence(CLOUD, CAMERAS, tmp_path, RAW)
    assert again.rendered == 1
    assert [p.read_bytes() for p in again.frames] == pictures
    assert [p.stat().st_mtime_ns for i, p in enumerate(again.frames) if i != 2] == stamps


def test_frames_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    render_sequence(CLOUD, CAMERAS, tmp_path, RAW)
    other = replace(RAW, rasterize_mode="antialiased")
    with pytest.raises(FileError, match="other settings"):
        render_sequence(CLOUD, CAMERAS, tmp_path, other)
    assert render_sequence(CLOUD, CAMERAS, tmp_path, replace(other, overwrite=True)).rendered == 4


def test_cancel_keeps_whole_frames_only(tmp_path: Path) -> None:
    def stop(stage: str, fraction: float) -> None:
        if fraction >= 0.5:
            raise CancelledError

    with pytest.raises(CancelledError):
        render_sequence(CLOUD, CAMERAS, tmp_path, RAW, stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0001.png", "0002.png", "exgs-sequence.json"]


def test_equal_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExgsError, match="same name"):
        render_sequence(CLOUD, replace(CAMERAS, names=("a", "a", "b", "c")), tmp_path, RAW)


def test_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="cannot be written"):
        render_sequence(CLOUD, CAMERAS, tmp_path / "file" / "frames", RAW)
