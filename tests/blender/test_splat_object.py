# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians as point attributes."""

from __future__ import annotations

import pytest

from .harness import RunInBlender

pytestmark = pytest.mark.blender


def test_round_trip_layout_and_edits(blender: RunInBlender) -> None:
    found = blender("round_trip")
    assert max(found["errors"].values()) < 2e-6, found["errors"]
    assert found["as expected"]
    attributes = found["attributes"]
    assert attributes.pop("radiance:base") in ("FLOAT4", "FLOAT_COLOR")
    assert attributes.pop("radius", "FLOAT") == "FLOAT"
    assert found["drawn by others"] == 0, "EEVEE and Cycles would draw balls where the splats are"
    vectors = dict.fromkeys(["position", "exgs_rest", "scale", "radiance:sh_0", "radiance:sh_1", "radiance:sh_2"], "FLOAT_VECTOR")
    assert attributes == {**vectors, "rotation": "QUATERNION"}
    assert found["unused meshes"] == 0, "the mesh that a point cloud was made from stays behind"
    assert found["keys differ"]
    assert (found["left"], found["moved"], found["sh"]) == (50, [7.0, 8.0, 9.0], 0.5)
    assert found["kept error"] == 0


def test_refusals_are_one_line(blender: RunInBlender) -> None:
    found = blender("round_trip")
    assert not found["plain is splat"]
    assert "holds no Gaussians" in found["refusals"]["plain"]
    assert "radiance:sh_" in found["refusals"]["holey"]
    assert "point 3" in found["refusals"]["broken"]
    assert not any("\n" in line for line in found["refusals"].values())
