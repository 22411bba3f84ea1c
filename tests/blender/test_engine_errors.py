# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that is missing or dies: one line for the user, and Blender goes on."""

from __future__ import annotations

import numpy as np
import pytest

from .harness import RunInBlender
from .images import read_png

pytestmark = pytest.mark.blender


def test_every_failure_is_one_line_and_blender_goes_on(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    found = blender("engine_errors", environment=worker_environment)
    lines = found["lines"]
    for name in ("after", "killed between frames"):
        assert lines.pop(name) == "", f"rendering did not recover: {name}"
    assert "no camera" in lines.pop("no camera"), "Blender itself refuses"
    assert all(line.startswith("Error: ExGS: ") and "\n" not in line for line in lines.values()), lines
    assert "no-such-python" in lines["missing"]
    assert "cannot be started" in lines["not a program"]
    assert "SIGKILL" in lines["killed while rendering"]
    assert "PANO" in lines["panorama"]
    assert found["new server"]
    assert (read_png(found["after"])[..., 3] == 255).any(), "nothing was rendered after the failures"
    np.testing.assert_array_equal(np.unique(read_png(found["composite"])[..., :3].reshape(-1, 3), axis=0), [[255, 0, 255]])
    assert "Traceback" not in found["output"]
