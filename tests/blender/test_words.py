# SPDX-License-Identifier: GPL-3.0-or-later
"""Tooltips, one tab, undo, and nothing loose in the artist's file."""

from __future__ import annotations

import pytest

from .harness import RunInBlender

pytestmark = pytest.mark.blender
CHANGES_THE_FILE = {
    "exgs.import_splats",
    "exgs.import_cameras",
    "exgs.setup_compositing",
    "exgs.remove_compositing",
    "exgs.use_standard_view",
    "exgs.before_after",
    "exgs.apply_transform",
    "exgs.join",
}


def test_every_word_is_there(blender: RunInBlender) -> None:
    found = blender("words")
    silent = [f"{cls}.{name}" for cls, words in found["words"].items() for name, text in words.items() if len(text) < 8]
    assert silent == [], "properties and choices without a tooltip that says something"
    dotted = [f"{cls}.{name}" for cls, words in found["words"].items() for name, text in words.items() if text.endswith(".")]
    assert dotted == [], "Blender adds the full stop itself"
    assert len(found["operators"]) > 10
    for name, operator in found["operators"].items():
        assert len(operator["tooltip"]) > 20, f"{name} has no tooltip"
        assert not operator["tooltip"].endswith("."), name
    assert found["tabs"] == ["ExGS"]


def test_undo_and_nothing_loose(blender: RunInBlender) -> None:
    found = blender("words")
    without_undo = [name for name in CHANGES_THE_FILE if "UNDO" not in found["operators"][name]["options"]]
    assert without_undo == []
    undo = found["undo"]
    assert undo["done"][:3] == [[0, 1, 0], [1, 1, 0], [1, 2, 1]]
    assert undo["undone"] == undo["done"][-2::-1], "undo does not lead back"
    assert undo["redone"] == undo["done"][1:]
    assert found["added"] == {"Scene": ["exgs"], "Object": ["exgs"], "WindowManager": [], "Camera": []}
    assert {name: keys for name, keys in found["loose"].items() if keys} == {}


def test_long_labels_are_broken_and_nothing_of_them_is_lost(blender: RunInBlender) -> None:
    found = blender("wrapping")
    for width, lines in found["letters"].items():
        assert max(map(len, lines)) <= int(width)
        assert "".join(lines).replace(" ", "") == found["text"].replace(" ", "")
    assert found["letters"]["200"] == [found["text"]]
    assert found["letters"]["20"][:2] == ["AgX changes the", "colours of captures"], "words are broken that need not be"
    assert max(found["pixels"]) <= 120 < found["whole"]
    assert found["empty"] == [""]
