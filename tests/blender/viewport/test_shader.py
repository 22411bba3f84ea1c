# SPDX-License-Identifier: GPL-3.0-or-later
"""What the 3D view draws is the image by definition."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blender.harness import RunInBlender

pytestmark = pytest.mark.blender


def test_drawing_is_the_reference_image(blender: RunInBlender, data_dir: Path) -> None:
    """Colours, SH turned with the object, footprints: KIRI #31, GSOPs #3, UnityGaussianSplatting #39, playcanvas/engine #8387."""
    capture = data_dir / "fixtures" / "inria" / "train-1000.ply"
    found = blender("viewport_shader", capture=str(capture) if capture.is_file() else "")
    exact = [*found["degrees"].values(), found["ortho"], found["antialiased"]]
    assert len(exact) == 7
    for case in exact:
        assert case["rgb"] > 65, found
        assert case["alpha"] > 65, found
        assert case["covered"] > 0.2, "hardly anything was drawn"
        assert case["colourful"] > 0.1
    assert found["half floats"]["rgb"] > 50
    assert found["no limit on brightness"] > 1.05, "colours above 1 were cut off before blending"
    if "capture" in found:
        assert found["capture"]["rgb"] > 60
        assert found["capture"]["covered"] > 0.02


def test_meshes_hide_splats_behind_them_alone(blender: RunInBlender) -> None:
    """KIRI #39: depth against meshes."""
    found = blender("viewport_shader", capture="")["occlusion"]
    assert found["hidden"] > 0.01, "the wall hides nothing"
    assert found["right"] > 90
    assert found["left"] > 60
