# SPDX-License-Identifier: GPL-3.0-or-later
"""From Blender 5.3 on our objects are Blender's own splats."""

from __future__ import annotations

import numpy as np
import pytest

from .harness import RunInBlender
from .images import read_png

pytestmark = pytest.mark.blender


def test_our_objects_are_what_blenders_importer_makes(blender: RunInBlender) -> None:
    found = blender("native")
    if not found["native"]:
        pytest.skip("this Blender has no splats of its own")
    assert found["types"] == ["GAUSSIAN_SPLAT", "GAUSSIAN_SPLAT"]
    assert set(found["names"][1]) - set(found["names"][0]) == {"exgs_rest"}
    assert set(found["names"][0]) <= set(found["names"][1])
    assert max(found["errors"].values()) < 1e-5, found["errors"]
    theirs, ours = (read_png(path).reshape(8, 8, 12, 8, 4).mean(axis=(1, 3)) for path in found["files"])  # Cycles' noise differs
    assert (ours[..., 3] > 128).sum() > 10, "Cycles draws points and no splats"
    assert np.abs(theirs - ours).mean() < 1, "Cycles draws our splats otherwise than its own"
