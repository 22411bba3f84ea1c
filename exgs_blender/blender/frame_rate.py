# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the frames of a render take, in words for the status line and the panel."""

from __future__ import annotations

from collections import deque
from typing import Any

import bpy
from bpy.app.handlers import persistent

WINDOW = 10
"""Frames that the rate is taken over: few enough to follow a shot that grows slower, enough not to jump."""


class FrameRate:
    """The mean of the last frames of one render (an animation's, or a single picture's)."""

    def __init__(self) -> None:
        self._frames: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._done = 0

    def begin(self) -> None:
        """Another render starts; what the last one took is told until its first frame is there."""
        self._done = 0

    def measured(self, seconds: float, restoring: float) -> None:
        """A frame is done: seconds of the engine's whole call, and those of them that restoration took (0 without it)."""
        if self._done < 2:  # the first frame also starts the worker and loads the splats: no measure for those after it
            self._frames.clear()
        self._done += 1
        self._frames.append((seconds, restoring))

    @property
    def words(self) -> str:
        """Such as "0.52 s a frame (1.9 frames/s), restoring 0.31 s of it"; empty before the first frame."""
        if not self._frames:
            return ""
        seconds, restoring = (sum(values) / len(self._frames) for values in zip(*self._frames, strict=True))
        told = f"{seconds:.2f} s a frame ({1 / max(seconds, 1e-6):.{0 if seconds < 0.1 else 1 if seconds < 1 else 2}f} frames/s)"
        return f"{told}, restoring {restoring:.2f} s of it" if restoring >= 0.005 else told


RATE = FrameRate()


@persistent
def _on_render_begin(*_: Any) -> None:
    RATE.begin()


CLASSES = ()


def register() -> None:
    bpy.app.handlers.render_init.append(_on_render_begin)


def unregister() -> None:
    bpy.app.handlers.render_init.remove(_on_render_begin)
