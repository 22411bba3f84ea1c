# SPDX-License-Identifier: GPL-3.0-or-later
"""A restored animation through a camera with a parent, a constraint and a driver, rendered whole, in chunks and backwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import create_splat_object
from exgs_blender.splats import concatenate

from . import stage

FRAMES = (1, 7)


def run(request: dict[str, Any]) -> dict[str, Any]:
    scene = stage.start()
    scene.render.engine = "EXGS"
    scene.render.resolution_x, scene.render.resolution_y = 101, 67
    scene.render.film_transparent = True
    stage.write_layers(scene)
    scene.exgs.restore = True
    obj = create_splat_object(bpy.context, "scene", concatenate([stage.ball(count=150), stage.plane(count=500)]))
    obj.exgs.keep_ratio = 0.05
    camera = _rigged_camera(scene)
    folder = Path(request["folder"])
    found: dict[str, Any] = {"stabilise": scene.exgs.stabilise}
    found["whole"] = _animation(scene, folder / "whole", [FRAMES])
    SESSION.close()
    found["chunks"] = _animation(scene, folder / "chunks", [(5, 7), (1, 4)])
    SESSION.close()
    found["backwards"] = {str(frame): _still(scene, folder / "backwards", frame) for frame in (7, 6, 4, 2)}
    scene.exgs.stabilise = False
    found["per_frame"] = _animation(scene, folder / "per_frame", [FRAMES])
    scene.exgs.stabilise = True
    found |= {"moving": _moving_capture(scene, folder, obj), "markers": _markers(scene, folder, camera)}
    found["composited"] = _composited(scene, folder)
    SESSION.close()
    found["failures"] = list(SESSION.failures)
    return found


def _rigged_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    """Its parent turns, a driver lifts it, a constraint keeps it looking at an empty."""
    camera = stage.add_camera(scene, (3, -4, 2.0))
    arm, aim = bpy.data.objects.new("arm", None), bpy.data.objects.new("aim", None)
    aim.location = stage.BALL_CENTRE
    for helper in (arm, aim):
        scene.collection.objects.link(helper)
    camera.parent = arm
    for frame, angle in ((1, 0.0), (7, 0.12)):
        arm.rotation_euler.z = angle
        arm.keyframe_insert("rotation_euler", frame=frame)
    driver = camera.driver_add("location", 2).driver
    driver.type, driver.expression = "SCRIPTED", "2 + 0.01 * frame"
    follow = camera.constraints.new("TRACK_TO")
    follow.target, follow.track_axis, follow.up_axis = aim, "TRACK_NEGATIVE_Z", "UP_Y"
    return camera


def _animation(scene: bpy.types.Scene, path: Path, chunks: list[tuple[int, int]]) -> list[str]:
    for start, end in chunks:
        scene.frame_start, scene.frame_end = start, end
        scene.render.filepath = f"{path}-"
        bpy.ops.render.render(animation=True)
    return [f"{path}-{frame:04d}.exr" for frame in range(FRAMES[0], FRAMES[1] + 1)]


def _still(scene: bpy.types.Scene, path: Path, frame: int) -> str:
    scene.frame_set(frame)
    scene.render.filepath = f"{path}-{frame:04d}"
    bpy.ops.render.render(write_still=True)
    assert scene.frame_current == frame
    return f"{scene.render.filepath}.exr"


def _both(scene: bpy.types.Scene, path: Path, frame: int) -> list[str]:
    """The frame with and without stabilising."""
    files = []
    for stabilise in (True, False):
        scene.exgs.stabilise = stabilise
        files.append(_still(scene, Path(f"{path}-{stabilise}"), frame))
    scene.exgs.stabilise = True
    return files


def _moving_capture(scene: bpy.types.Scene, folder: Path, obj: bpy.types.Object) -> list[str]:
    for frame in (1, 7):
        obj.location.x = 0.05 * frame
        obj.keyframe_insert("location", frame=frame)
    files = _both(scene, folder / "moving", 6)
    obj.animation_data_clear()
    obj.location = np.zeros(3)
    return files


def _markers(scene: bpy.types.Scene, folder: Path, camera: bpy.types.Object) -> list[str]:
    """A marker cuts to a twin of the camera at frame 6."""
    other = camera.copy()
    scene.collection.objects.link(other)
    for name, frame, bound in (("a", 1, camera), ("b", 6, other)):
        scene.timeline_markers.new(name, frame=frame).camera = bound
    return _both(scene, folder / "cut", 6)


def _composited(scene: bpy.types.Scene, folder: Path) -> list[str]:
    """Frame 5 of a CG scene with the splats in it: at the end of an animation, alone, and alone without stabilising."""
    scene.timeline_markers.clear()
    stage.use_cycles(scene)
    bpy.ops.exgs.setup_compositing()
    image = scene.render.image_settings  # one layer: what the compositor made
    if hasattr(image, "media_type"):
        image.media_type = "IMAGE"
    image.file_format, image.color_depth, image.color_mode = "OPEN_EXR", "32", "RGBA"
    scene.frame_start, scene.frame_end = 3, 5
    scene.render.filepath = str(folder / "composited-")
    bpy.ops.render.render(animation=True)
    SESSION.close()
    return [str(folder / "composited-0005.exr"), *_both(scene, folder / "composited-alone", 5)]
