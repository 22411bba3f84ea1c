# SPDX-License-Identifier: GPL-3.0-or-later
"""The draw handler, the timer that asks for redraws, and the handlers that notice changes."""

from __future__ import annotations

import logging
from typing import Any

import bpy
import gpu
from bpy.app.handlers import persistent

from . import painter
from .session import Viewport

log = logging.getLogger(__name__)

TICK_SECONDS = 1 / 60


def _start_timer() -> None:
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK_SECONDS)


def _tick() -> float | None:
    if VIEWPORT.needs_redraw:
        redraw()
    return TICK_SECONDS if VIEWPORT.waits else None


VIEWPORT = Viewport(_start_timer)
_handles: list[Any] = []


def _draw() -> None:
    depth_test, depth_mask, blend = gpu.state.depth_test_get(), gpu.state.depth_mask_get(), gpu.state.blend_get()
    try:
        VIEWPORT.draw(bpy.context)
    except Exception:  # a view without splats is better than a view that redraws an error for ever
        log.exception("drawing splats")
        VIEWPORT.told = "drawing failed; the system console says why"
    finally:
        gpu.state.depth_test_set(depth_test)
        gpu.state.depth_mask_set(depth_mask)
        gpu.state.blend_set(blend)


def redraw() -> None:
    """Ask all 3D views to draw again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


@persistent
def _on_update(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph | None = None) -> None:
    VIEWPORT.clouds.changed()


@persistent
def _on_undo(*_: Any) -> None:
    VIEWPORT.clouds.changed()


@persistent
def _on_load(*_: Any) -> None:
    VIEWPORT.clear()


HANDLERS = {
    "depsgraph_update_post": _on_update,
    "frame_change_post": _on_update,
    "undo_post": _on_undo,
    "redo_post": _on_undo,
    "load_pre": _on_load,
    "load_post": _on_load,
}


def register() -> None:
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)
    _handles.append(bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW"))


def unregister() -> None:
    for handle in _handles:
        bpy.types.SpaceView3D.draw_handler_remove(handle, "WINDOW")
    _handles.clear()
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    VIEWPORT.clear()
    painter.forget()
