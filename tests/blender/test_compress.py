# SPDX-License-Identifier: GPL-3.0-or-later
"""Compression as an artist meets it: choices, queue, progress, before and after, and Blender going away meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from .harness import RunInBlender

pytestmark = pytest.mark.blender


def test_targets_views_queue_and_before_after(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    found = blender("compress_panel", environment=worker_environment)
    estimates = found["estimates"]
    assert estimates["NEAR_LOSSLESS"][1] > estimates["BALANCED"][1] > estimates["EXTREME"][1] > 0
    assert estimates["SIZE"][1] == 3_000_000
    assert estimates["QUALITY"][1] == 0, "nobody knows the size beforehand"
    assert estimates["QUALITY"][0] > estimates["BALANCED"][0] > estimates["NEAR_LOSSLESS"][0] > 0
    assert found["expectation"].startswith("About ")
    size = found["size"]
    assert size["state"] == "done", size["message"]
    assert 0.9 * 20_000 < size["bytes"] <= 20_000
    assert size["never back"]
    assert size["last"] > 0.9
    assert size["left"][0] > size["left"][1] >= 0
    assert any(" left" in line for line in size["lines"]), size["lines"]
    assert "no camera file is chosen" in found["lines"]["no file"]
    assert "holds no cameras" in found["lines"]["bad file"]

    _check_queue(found["queue"])
    _check_pair(found["pair"])


def _check_queue(queue: dict[str, Any]) -> None:
    assert queue["before"] == ["running", "waiting", "waiting"]
    assert "about to write this file" in queue["same file"]
    assert queue["order"] == [2, 0, 1], "the one that waited and was cancelled ends first, the others one after the other"
    assert queue["after"] == ["done", "done", "cancelled"], queue["messages"]
    assert queue["files"] == {"queue0.exgs": "shot", "queue1.exgs": "file"}


def _check_pair(pair: dict[str, Any]) -> None:
    assert pair["places"] == [[0, 0, 1], [2, 0, 1]], "the result does not follow the original's parent and animation"
    assert pair["shown"] == [[False, True], [True, False, "capture"], [False, True, "capture ExGS"]]
    assert pair["alone"], "a deleted original is still there"
    assert not pair["polls"]


def test_saving_opening_closing_and_dying_meanwhile(blender: RunInBlender, worker_environment: dict[str, str], tmp_path: Path) -> None:
    found = blender("leaving", environment=worker_environment)
    other = found["other file"]
    assert other["state"] == "done", other["message"]
    assert "no longer in this file" in other["message"]
    assert other["objects"] == 0, "the result of one file was put into another"
    assert found["saved"] == {"objects": ["capture"], "shown": True}
    assert found["closed"] == ["cancelled", "cancelled"]
    deadline = time.monotonic() + 60
    while _runs(found["pid"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(found["pid"]), "the worker outlives a Blender that crashed"
    assert [path.name for path in tmp_path.glob("*.exgs")] == ["went on.exgs"]
    assert not list(tmp_path.glob(".*.part*")), "a half-written file stays behind"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or " Z " not in Path(f"/proc/{pid}/stat").read_text()
