# SPDX-License-Identifier: GPL-3.0-or-later
"""Which axis of a file points up: the choice that every operator that reads or writes one offers, and what it does."""

from __future__ import annotations

import math
from typing import Any

from bpy.props import EnumProperty
from mathutils import Matrix

WORLD_FROM_CAPTURE = {
    "Y_DOWN": Matrix.Rotation(-math.pi / 2, 4, "X"),
    "Y_UP": Matrix.Rotation(math.pi / 2, 4, "X"),
    "Z_UP": Matrix.Identity(4),
}

READ = {
    "Y_DOWN": "The capture's -Y points up: right for most captures",
    "Y_UP": "The capture's Y points up",
    "Z_UP": "The capture's Z points up, as in Blender: nothing is turned",
}
WRITTEN = {
    "Y_DOWN": "What points up here points along -Y in the file, as in most captures",
    "Y_UP": "What points up here points along Y in the file",
    "Z_UP": "Keep Blender's axes",
}
NAMES = {"Y_DOWN": "-Y (COLMAP)", "Y_UP": "Y", "Z_UP": "Z"}


def up_axis_of_file(words: dict[str, str], description: str) -> Any:
    """The property ``up`` of an operator; ``words`` is READ or WRITTEN."""
    items = [(key, name, words[key]) for key, name in NAMES.items()]
    return EnumProperty(name="Up", items=items, default="Y_DOWN", description=description)
