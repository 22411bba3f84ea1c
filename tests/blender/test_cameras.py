# SPDX-License-Identifier: GPL-3.0-or-later
"""Our cameras against Blender's own projection."""

from __future__ import annotations

import pytest

from .harness import RunInBlender

pytestmark = pytest.mark.blender


def test_random_cameras_project_as_blender_does(blender: RunInBlender) -> None:
    found = blender("random_cameras", count=240)
    assert found["worst"] < 0.01
    assert found["median"] > 0, "no point was inside any image"
    assert "no camera" in found["refusals"][0]
    assert "PANO" in found["refusals"][1]
