# SPDX-License-Identifier: GPL-3.0-or-later
"""A frame with GaussPainter on, of a ball that lost most of its Gaussians; its size is no multiple of anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from exgs_blender.blender.frame_rate import RATE
from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import create_splat_object

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    scene = stage.start()
    scene.render.engine = "EXGS"
    scene.render.resolution_x, scene.render.resolution_y = 101, 67
    scene.render.film_transparent = True
    stage.write_layers(scene)
    obj = create_splat_object(bpy.context, "ball", stage.ball(count=150))
    obj.exgs.keep_ratio = 0.1
    stage.add_camera(scene, (3, -4, 2.0))
    files, rates = {}, {}
    status: list[str] = []
    bpy.app.handlers.render_stats.append(lambda line, _: status.append(line))
    # A re-fitted cloud that brings no mix is left alone.
    for name, restore, guidance in (("on", True, ""), ("off", False, ""), ("refitted", True, '{"refitted":true}')):
        scene.exgs.restore = restore
        obj.exgs.guidance = guidance
        scene.render.filepath = str(Path(request["folder"]) / name)
        bpy.ops.render.render(write_still=True)
        files[name] = scene.render.filepath + ".exr"
        rates[name] = RATE.words
    SESSION.close()
    return {**files, "rates": rates, "status": status}
