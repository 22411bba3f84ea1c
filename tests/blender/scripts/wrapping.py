# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a panel, measured in letters and by Blender's own font."""

from __future__ import annotations

from typing import Any

import bpy

from exgs_blender.blender.wrapping import lines_within

TEXT = "AgX changes the colours of captures in /a/folder/with/a/long/name"


def run(request: dict[str, Any]) -> dict[str, Any]:
    import blf  # there once bpy is

    blf.size(0, bpy.context.preferences.ui_styles[0].widget.points)

    def pixels(words: str) -> float:
        return float(blf.dimensions(0, words)[0])

    return {
        "text": TEXT,
        "letters": {width: lines_within(TEXT, width, len) for width in (1, 9, 20, 200)},
        "pixels": [pixels(line) for line in lines_within(TEXT, 120, pixels)],
        "whole": pixels(TEXT),
        "empty": lines_within("", 20, len),
    }
