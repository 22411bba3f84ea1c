# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's own splats, from 5.3 on: what its PLY importer makes of a capture, and how Cycles draws ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from exgs_blender import formats
from exgs_blender.blender.splat_object import NATIVE, create_splat_object, read_attributes
from exgs_blender.splats import concatenate

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    if not NATIVE:
        return {"native": False}
    folder = Path(request["folder"])
    scene = stage.start()
    cloud = concatenate([stage.ball(400), stage.dot((0.1, 0.2, 1.4), 0.1).with_sh_degree(1)])
    formats.write(folder / "capture.ply", cloud)
    bpy.ops.wm.ply_import(filepath=str(folder / "capture.ply"), forward_axis="Y", up_axis="Z")
    theirs = bpy.context.object
    ours = create_splat_object(bpy.context, "ours", cloud)
    found: dict[str, Any] = {"native": True, "types": [obj.data.type for obj in (theirs, ours)]}
    a, b = read_attributes(theirs.data), read_attributes(ours.data)
    found["names"] = [sorted(a), sorted(b)]
    found["errors"] = {name: float(np.abs(a[name] - b[name]).max()) for name in a}
    stage.add_camera(scene, (0, -3, 1))
    stage.use_cycles(scene)
    scene.cycles.samples, scene.render.film_transparent = 16, True
    found["files"] = []
    for shown in (theirs, ours):
        for obj in (theirs, ours):
            obj.hide_render = obj != shown
        scene.render.filepath = str(folder / shown.name)
        bpy.ops.render.render(write_still=True)
        found["files"].append(f"{scene.render.filepath}.png")
    return found
