# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores a frame together with those before it, which are made anew where they were not rendered just now (pre-roll)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..cameras import Cameras
from ..painter.temporal import WINDOW, Change, change_of, stabilised
from ..render.frame import Frame

__all__ = ["WINDOW", "SteadyRestorer"]


class SteadyRestorer:
    """Stabilised restoration of one scene with one set of settings; remembers the changes of the last few views.

    A frame depends on its view and the earlier views alone: neither on what was asked before nor in which order.

    Args:
        rasterize: view -> frame.
        restore: frame -> restored frame, the same for the same frame.
    """

    def __init__(self, rasterize: Callable[[Cameras], Frame], restore: Callable[[Frame], Frame]) -> None:
        self._rasterize = rasterize
        self._restore = restore
        self._changes: dict[bytes, Change] = {}

    def __call__(self, view: Cameras, frame: Frame, earlier: Sequence[Cameras]) -> Frame:
        """The restored frame of ``view``; ``earlier`` holds the views of the frames before it, the nearest first.

        Raises:
            MissingDependencyError: numba is not in this Python.
        """
        restored = self._restore(frame)
        own = change_of(view, frame, restored)
        earlier = earlier[:WINDOW]
        known = {key: self._changes[key] for key in map(_key, earlier) if key in self._changes}
        self._changes = known | {_key(view): own}  # of no more use going forwards or backwards are all others
        return stabilised(frame, restored, own, map(self._change_at, earlier))

    def _change_at(self, view: Cameras) -> Change:
        key = _key(view)
        if key not in self._changes:
            frame = self._rasterize(view)
            self._changes[key] = change_of(view, frame, self._restore(frame))
        return self._changes[key]


def _key(view: Cameras) -> bytes:
    """Equal for views of equal pictures."""
    sizes = f"{view.widths.tolist()} {view.heights.tolist()} {view.camera_model} {view.near_plane!r} {view.far_plane!r}"
    return view.viewmats.tobytes() + view.Ks.tobytes() + sizes.encode()
