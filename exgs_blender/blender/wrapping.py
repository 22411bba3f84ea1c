# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels that are as wide as their panel: Blender cuts a longer line off, and with it what the user is to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import blf  # type: ignore[import-not-found]
import bpy

MARGIN, ICON = 56, 22
"""Pixels at a user interface scale of 1: what panel, box and the sidebar's tabs take of a region's width, and an icon."""


def wrapped_label(layout: Any, text: str, icon: str = "NONE") -> None:
    """A label in as many lines as the region that is being drawn needs for it."""
    region, preferences = bpy.context.region, bpy.context.preferences
    scale = preferences.system.ui_scale
    width = (region.width - (MARGIN + (0 if icon == "NONE" else ICON)) * scale) if region else float("inf")
    blf.size(0, preferences.ui_styles[0].widget.points * scale)
    column = layout.column(align=True)
    for number, line in enumerate(lines_within(text, width, lambda words: blf.dimensions(0, words)[0])):
        column.label(text=line, icon=icon if number == 0 or icon == "NONE" else "BLANK1")


def lines_within(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """The text in lines that are no wider than ``width``, broken between words; a word that is wider than that by itself is broken.

    Args:
        measure: text -> width.
    """
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if measure(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *whole, line = _pieces(word, width, measure)
        lines += whole
    return [*lines, line] if line or not lines else lines


def _pieces(word: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """A path, say, in parts that fit; each has a character at least."""
    pieces = [""]
    for character in word:
        if pieces[-1] and measure(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces
