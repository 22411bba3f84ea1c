# SPDX-License-Identifier: GPL-3.0-or-later
"""Shadows of the CG on the splats, by a proxy mesh that catches them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.props import EnumProperty, IntProperty

from .. import formats
from ..errors import ExgsError
from . import proxy_object, splat_scene
from .camera_animation import up_direction
from .job_runner import RUNNER, Task, job_folder
from .ops_compositing import composite
from .reported import reported
from .splat_object import gaussians_of, is_splat_object


class MakeProxy(bpy.types.Operator):
    """Make a mesh of the capture's surface, in the background. As shadow catcher it brings the shadows of your CG onto the splats (Cycles);
    as holdout it cuts away the CG behind them. Run again after edits: the mesh is made anew, not doubled"""

    bl_idname = "exgs.make_proxy"
    bl_label = "Make Shadow Catcher"
    bl_options = {"REGISTER"}

    role: EnumProperty(
        name="Use As",
        items=[
            (proxy_object.SHADOWS, "Shadow Catcher", "The CG casts shadows on the splats. Only Cycles can do this"),
            (proxy_object.HOLDOUT, "Holdout", "Where the splats are in front, the CG picture has a hole: for compositing elsewhere"),
        ],
        description="What the mesh does to the CG picture; it is never seen itself",
    )
    detail: IntProperty(
        name="Detail",
        default=96,
        min=16,
        max=256,
        description="Cells of the mesh along the longest side of what is seen. More follow small shapes, so that shadows bend over them; "
        "fewer make soft, calm shadows",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return is_splat_object(context.object)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        start_proxy(context, context.object, self.role, self.detail)
        if self.role == proxy_object.SHADOWS and context.scene.render.engine != "CYCLES":
            self.report({"WARNING"}, "Only Cycles catches shadows: choose it as the render engine of this scene")
        return {"FINISHED"}


def start_proxy(context: bpy.types.Context, obj: bpy.types.Object, role: str, detail: int) -> Task:
    """Let the worker look at the object's splats, as edited.

    Raises:
        ExgsError: nothing to look at, or no worker; where Blender has no window also what the worker says.
    """
    gaussians = gaussians_of(obj, context.evaluated_depsgraph_get())
    folder = job_folder()
    source, target = folder / "capture.ply", folder / "surface.npz"
    try:
        formats.write(source, gaussians)
    except ExgsError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    uid = obj.session_uid
    params = {"source": str(source), "target": str(target), "detail": detail, "up": up_direction(obj)}
    task = RUNNER.start(
        f"Proxy of {obj.name}",
        "proxy",
        params,
        lambda result: _finish(uid, target, role, result),
        tidy=lambda: shutil.rmtree(folder, ignore_errors=True),
    )
    if bpy.app.background:
        RUNNER.wait(task)
        if task.state != "done":
            raise ExgsError(task.message)
    return task


def _finish(uid: int, target: Path, role: str, result: dict[str, Any]) -> str:
    obj = next((other for other in bpy.data.objects if other.session_uid == uid), None)
    if obj is None:
        raise ExgsError("the capture is no longer in this file, so its proxy was not made")
    with np.load(target, allow_pickle=False) as arrays:
        proxy = proxy_object.make_or_update(obj, arrays["vertices"], arrays["quads"], role)
    for scene in proxy.users_scene:
        if splat_scene.splat_scene_of(scene) is not None:
            composite(scene)
    if not bpy.app.background:
        bpy.ops.ed.undo_push(message="Make Proxy")
    return f"{proxy.name}: {result['quads']:,} faces"


CLASSES = (MakeProxy,)
