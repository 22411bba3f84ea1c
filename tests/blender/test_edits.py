# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits by Blender's own means are what every later step sees."""

from __future__ import annotations

import pytest

from .harness import RunInBlender

pytestmark = pytest.mark.blender
SAME = 2e-4
"""Half a dozen roundings of float32 values of some units."""


def test_edits_are_kept(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    """KIRI #38, #12, #49: edits lost; GSOPs #3, UnityGaussianSplatting #39: SH not turned with the object."""
    found = blender("edits", environment=worker_environment)
    deleted = found["deleted"]
    assert deleted["left"] == 120
    assert deleted["off"] < SAME
    assert deleted["another content"], "renders would show what was deleted"
    assert found["duplicated"]["own data"]
    assert found["duplicated"]["settings"]
    assert found["duplicated"]["off"] < SAME
    assert found["nodes"] < SAME
    for case, (off, matrix) in found["applied"].items():
        assert off < SAME, f"{case}: the picture changed"
        assert matrix < 1e-6, f"{case}: the object is not at the identity"
    joined = found["joined"]
    assert joined["off"] < 10 * SAME
    assert joined["kept"] == pytest.approx(320 / (200 / 0.5 + 120 / 0.25), abs=1e-3)
    assert joined["twin"] == 120, "an object that shared the data lost its points"
    assert joined["objects"] == 1
    assert found["joined by Blender"] < SAME
    assert "scale of 0" in found["refused"]
    assert found["compressed"]["state"] == "done", found["compressed"]
    assert found["compressed"]["least x"] > -0.05, "deleted points came back"
