# SPDX-License-Identifier: GPL-3.0-or-later
"""A cloud that did not change costs no reading; one that did is never taken for the old one."""

from __future__ import annotations

import pytest

from .harness import RunInBlender

pytestmark = pytest.mark.blender


def test_clouds_are_read_when_they_change(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    """KIRI #50, #45: frames that stay the same though the scene moves."""
    found = blender("content", environment=worker_environment)
    assert found["plain"] == 1, "four frames of a still cloud"
    assert found["moved by a script"] == 4
    assert found["still"] <= 1
    assert found["coloured"] == 1
    assert found["moved as a whole"] == 0
