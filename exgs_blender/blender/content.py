# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clouds are the same as before: told by Blender's notices of change, since reading a million points takes a third of a second.

A cloud is read and named by its content once, and again when a dependency graph reports that its geometry changed: after an edit in
the window or by a script, on a new frame where it is animated, and at the first frame of each render. A render makes a new dependency
graph for every frame, which reports everything as changed; there, points without modifiers and animation are taken to be the frame's
before, unless somebody's handlers run between the frames.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..splats.gaussians import F32
from .splat_object import content_key, read_attributes

Stamp = tuple[Any, ...]


class ContentKeys:
    """Keys of evaluated clouds, by what they were evaluated from and how often that has changed."""

    def __init__(self) -> None:
        self._changes: Counter[int] = Counter()
        self._epoch = 0
        self._keys: dict[Stamp, str] = {}
        self._unsettled: set[int] = set()
        self._first_frame = True

    def changed(self, depsgraph: bpy.types.Depsgraph | None) -> None:
        """Take note of what a dependency graph tells; of everything where it is None (undo, another file)."""
        if depsgraph is None:
            self._epoch += 1
            self._keys.clear()
            return
        tells_nothing = depsgraph.mode == "RENDER" and not self._first_frame and not _handlers_of_others()
        self._first_frame &= depsgraph.mode != "RENDER"
        for update in depsgraph.updates:
            if tells_nothing and _is_plain(update.id.original):
                continue
            if update.is_updated_geometry and isinstance(update.id, (bpy.types.Object, bpy.types.PointCloud, bpy.types.Mesh)):
                uid = update.id.original.session_uid
                self._changes[uid] += 1
                if depsgraph.mode == "VIEWPORT" and bpy.app.is_job_running("RENDER"):
                    self._unsettled.add(uid)

    def render_begins(self) -> None:
        self._first_frame = True

    def settle(self) -> None:
        """A render ended: what was edited meanwhile, which its frames may or may not have seen, counts as changed again."""
        self._changes.update(self._unsettled)
        self._unsettled.clear()

    def key(self, instance: bpy.types.DepsgraphObjectInstance, depsgraph: bpy.types.Depsgraph) -> tuple[str, dict[str, F32] | None]:
        """The name of a cloud's content, and its attributes where they had to be read for it.

        Raises:
            ExgsError: see :func:`.splat_object.read_attributes`.
        """
        stamp = self._stamp(instance, depsgraph)
        if stamp is not None and stamp in self._keys:
            return self._keys[stamp], None
        attributes = read_attributes(instance.object.data)
        key = content_key(attributes)
        if stamp is not None:
            self._keys = {old: name for old, name in self._keys.items() if old[0] != stamp[0]} | {stamp: key}
        return key, attributes

    def _stamp(self, instance: bpy.types.DepsgraphObjectInstance, depsgraph: bpy.types.Depsgraph) -> Stamp | None:
        """Equal for equal content; None where nobody tells of changes."""
        obj = instance.object.original
        data = obj.data
        made_by_nodes = instance.is_instance and any(modifier.type == "NODES" for modifier in instance.parent.original.modifiers)
        if data is None or made_by_nodes or obj.mode != "OBJECT" or self._unsettled & {obj.session_uid, data.session_uid}:
            return None
        # Modifiers may give the window and the render, or two view layers, something else.
        seen_by = (depsgraph.mode, depsgraph.scene.name, depsgraph.view_layer.name) if obj.modifiers else ()
        where = (obj.session_uid, data.session_uid, seen_by)
        return where, self._epoch, self._changes[obj.session_uid], self._changes[data.session_uid]


def _is_plain(found: bpy.types.ID) -> bool:
    """Whether an ID's points change by nobody's hand but the user's or a script's."""
    if isinstance(found, bpy.types.Object):
        return not found.modifiers
    return getattr(found, "animation_data", None) is None and getattr(found, "shape_keys", None) is None


def _handlers_of_others() -> bool:
    """Whether scripts run between the frames of a render, which may change points."""
    ours = __package__.rpartition(".")[0]
    lists = (
        getattr(bpy.app.handlers, name) for name in ("frame_change_pre", "frame_change_post", "render_pre", "render_post", "render_write")
    )
    return any(not (getattr(handler, "__module__", None) or "").startswith(ours) for handlers in lists for handler in handlers)


CONTENT = ContentKeys()


@persistent
def _on_update(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph | None = None) -> None:
    CONTENT.changed(depsgraph)


@persistent
def _on_undo(*_: Any) -> None:
    CONTENT.changed(None)


@persistent
def _on_render_begin(*_: Any) -> None:
    CONTENT.render_begins()


@persistent
def _on_render_end(*_: Any) -> None:
    CONTENT.settle()


HANDLERS = {
    "depsgraph_update_post": _on_update,
    "frame_change_post": _on_update,
    "undo_post": _on_undo,
    "redo_post": _on_undo,
    "load_post": _on_undo,
    "render_init": _on_render_begin,
    "render_complete": _on_render_end,
    "render_cancel": _on_render_end,
}
CLASSES = ()


def register() -> None:
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    for name, handler in HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
    CONTENT.changed(None)
