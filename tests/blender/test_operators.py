# SPDX-License-Identifier: GPL-3.0-or-later
"""Import and compress operators: what they do, and how they refuse."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest

from .harness import RunInBlender

pytestmark = pytest.mark.blender


def _is_one_line(line: str) -> bool:
    return bool(line) and "\n" not in line and "Traceback" not in line


def test_import(blender: RunInBlender) -> None:
    found = blender("imports", convert="")
    assert found["name"] == "capture"
    assert found["upright"] == [[0, 0, 1], [0, 1, 0]], "a capture's -Y has to point up, its +Z away"
    assert found["untouched"] == found["in file"]
    assert found["selected"]
    assert found["two more"] == 3
    assert found["objects after"] == 3, "a bad file left an object behind"
    assert all(_is_one_line(line) for line in found["lines"].values()), found["lines"]
    assert "does not exist" in found["lines"]["missing"]
    assert "empty" in found["lines"]["empty"]


def test_import_of_what_only_the_worker_can_decode(blender: RunInBlender, worker_environment: dict[str, str], data_dir: Path) -> None:
    """SOG holds WebP images, which Blender's own Python cannot read; where this one can, it is read directly."""
    found = blender("imports", environment=worker_environment, convert=str(data_dir / "scenes" / "playbot" / "6_0" / "meta.json"))
    assert 1000 < found["converted"] < 10000


def test_import_options_drops_and_native_splats(blender: RunInBlender) -> None:
    """KIRI #63, spz #60: compressed formats; ReshotAI #42, #15, #44 are tested with the formats."""
    found = blender("import_options")
    assert {f"*{suffix}" for suffix in found["readable"]} == set(found["shown"])
    assert all(any(suffix.endswith(taken) for taken in found["taken"]) for suffix in found["readable"]), "a readable file cannot be dropped"
    assert found["registered"]
    assert [kind for kind, takes in sorted(found["takes drops"].items()) if takes] == ["OUTLINER", "VIEW_3D"]
    assert len(found["takes drops"]) > 2
    assert found["operator"] == "exgs.import_splats"
    assert [count for count, _ in found["dropped"].values()] == [300] * 6
    assert [degree for _, degree in found["dropped"].values()] == [3, 3, 3, 0, 3, 3]
    assert list(found["up"].values()) == [[0, 0, 2.5]] * 3, "up does not point up, or the scale is another"
    everything, opaque, imported = found["opaque"]
    assert 0 < opaque == imported < everything
    native = found["native"]
    assert native["type"] in ("POINTCLOUD", "MESH")
    assert native["error"] < 2e-6
    assert native["rendered"] == [40]
    assert native["compress"]


def test_compress_this_shot_cancel_and_kill(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    found = blender("jobs", environment=worker_environment)
    assert found["object space"] < 0.01
    assert found["shot"]["state"] == "done", found["shot"]
    assert found["up"][:2] == ["+z", "-y"], "views that are generated look from another side than the artist's up"
    assert np.allclose(found["up"][2], [0, 0, 1], atol=1e-5)
    assert found["cancelled"]["state"] == "cancelled"
    assert found["killed"]["state"] == "failed"
    assert "SIGKILL" in found["killed"]["message"]
    assert found["files"] == ["shot.exgs"], "a stopped job left a file"
    assert found["objects"] == 2
    assert found["left over"] == [], "temporary files stay behind"
    assert found["finished twice"] == 0
    lines = found["lines"]
    assert all(_is_one_line(line) for line in lines.values()), lines
    assert "unevenly" in lines["uneven"]
    assert "no camera" in lines["no camera"]
    assert "cannot be written" in lines["not a folder"]
    assert "no-such-python" in lines["no worker"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no BROWSER variable")
def test_compression_brings_a_quality_report(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    found = blender("report", environment=worker_environment)
    assert found["before"] == {"polls": False, "headline": ""}
    assert found["state"] == "done", found["message"]
    (first, second) = found["objects"].values()
    assert first == second, "the original and its compressed twin tell the same"
    headline, page = first
    assert found["message"] == f"my asset.exgs: {headline}"
    assert headline == json.loads(Path(page).with_suffix(".json").read_text())["headline"]
    assert " smaller (" in headline
    assert " dB" in headline
    assert [len(piece) < 45 for piece in found["pieces"]] == [True] * len(found["pieces"])
    assert Path(url2pathname(urlparse(found["opened"]).path)) == Path(page)
    assert Path(page).name == "my asset.exgs.report.html"
    assert found["after loading"] == headline
    assert _is_one_line(found["gone"])
    assert "no longer there" in found["gone"]
