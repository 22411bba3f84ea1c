# SPDX-License-Identifier: GPL-3.0-or-later
"""A 3D view shows the captures that Blender shows in it."""

from __future__ import annotations

import pytest

from .harness import RunInBlender

pytestmark = pytest.mark.blender


def test_both_kinds_of_view_show_what_blender_shows(blender: RunInBlender) -> None:
    found = blender("local_view")
    found.pop("output")
    expected = {
        "all": [11, 22, 44, 44],
        "local view": [22, 44],
        "left again": [11, 22, 44, 44],
        "filtered by type": [44],  # an instance is shown where its empty is
        "a hidden": [22, 44, 44],
        "b disabled": [11, 44, 44],
        "c excluded": [11, 22, 44],
    }
    if "local view" not in found:
        del expected["local view"]
    assert found == {name: {"rendered": sizes, "solid": sizes} for name, sizes in expected.items()}
