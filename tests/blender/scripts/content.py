# SPDX-License-Identifier: GPL-3.0-or-later
"""Clouds are read once, and again after every change that a user, a script or an animation makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np

from exgs_blender.blender import content
from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import create_splat_object

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    scene = stage.start()
    scene.render.engine = "EXGS"
    scene.render.resolution_x, scene.render.resolution_y = 32, 24
    scene.frame_start, scene.frame_end = 1, 4
    scene.render.filepath = request["folder"] + "/f"
    obj = create_splat_object(bpy.context, "ball", stage.ball())
    camera = stage.add_camera(scene, (3, -4, 2.5))
    camera.keyframe_insert("location", frame=1)
    camera.location.x = 2
    camera.keyframe_insert("location", frame=4)
    result = {"plain": _reads(lambda: bpy.ops.render.render(animation=True))}

    def handler(scene: Any, *_: Any) -> None:
        values = np.empty(len(obj.data.attributes["position"].data) * 3, np.float32)
        obj.data.attributes["position"].data.foreach_get("vector", values)
        obj.data.attributes["position"].data.foreach_set("vector", values + np.float32(0.01))

    bpy.app.handlers.frame_change_pre.append(handler)
    result["moved by a script"] = _reads(lambda: bpy.ops.render.render(animation=True))
    bpy.app.handlers.frame_change_pre.remove(handler)
    result["still"] = _reads(_visible) + _reads(_visible)
    obj.data.attributes["radiance:sh_0"].data[3].vector = (1, 2, 3)
    result["coloured"] = _reads(_visible)
    obj.location.x = 1
    result["moved as a whole"] = _reads(_visible)
    SESSION.close()
    return result


def _visible() -> None:
    SESSION.visible_splats(bpy.context.evaluated_depsgraph_get())


def _reads(action: Callable[[], Any]) -> int:
    """How many different contents were read while something happened."""
    keys: list[str] = []
    original = content.content_key

    def counting(attributes: Any) -> str:
        keys.append(original(attributes))
        return keys[-1]

    content.content_key = counting
    try:
        action()
    finally:
        content.content_key = original
    return len(keys)
