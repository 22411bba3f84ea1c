# SPDX-License-Identifier: GPL-3.0-or-later
"""Compression in the background: this shot, edits, cancel, kill, refusals."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector

from exgs_blender.blender.axes import WORLD_FROM_CAPTURE
from exgs_blender.blender.camera_animation import shot_cameras, up_direction
from exgs_blender.blender.job_runner import RUNNER, Task
from exgs_blender.cameras.conventions import project
from exgs_blender.formats.exgs import read_asset

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    scene = stage.start()
    bpy.ops.exgs.import_splats(filepath=stage.write_capture(request["folder"]), up="Z_UP")
    splats = bpy.context.object
    stage.add_camera(scene, (3, -4, 2.0))
    scene.frame_start, scene.frame_end = 1, 3
    result = {"object space": _object_space_error(scene, splats)}
    result["shot"] = _ended(_compress(folder / "shot.exgs", views="SHOT"))
    result["up"] = [read_asset(folder / "shot.exgs").metadata.get("up"), *_up_directions(splats)]
    result["cancelled"] = _stopped(folder / "cancelled.exgs", lambda task: bpy.ops.exgs.cancel_job(index=0))
    result["killed"] = _stopped(folder / "killed.exgs", lambda task: os.kill(task.job.pid, signal.SIGKILL))
    result["objects"] = len(bpy.data.objects)
    result["lines"] = _refusals(scene, splats, folder)
    result["left over"] = sorted(path.name for path in Path(tempfile.gettempdir()).glob(f"exgs-job-{os.getpid()}-*"))
    result["files"] = sorted(path.name for path in folder.glob("*.exgs")) + sorted(path.name for path in folder.glob(".*"))
    result["finished twice"] = len(RUNNER.poll())
    return result


def _compress(target: Path, **options: Any) -> Task:
    bpy.ops.exgs.compress(filepath=str(target), ratio=25, replace_original=False, **options)
    return RUNNER.running[-1]


def _ended(task: Task) -> dict[str, str]:
    RUNNER.wait(task)
    return {"state": task.state, "message": task.message}


def _stopped(target: Path, stop: Any) -> dict[str, str]:
    """Start a compression and stop it in the middle, after its first progress."""
    task = _compress(target, views="EVERYWHERE")
    while task.stage == "starting":
        RUNNER.poll()
    stop(task)
    return _ended(task)


def _object_space_error(scene: bpy.types.Scene, splats: bpy.types.Object) -> float:
    """A point of a turned, moved, scaled object lands at the same pixel through its object-space camera as in Blender."""
    splats.location, splats.rotation_euler, splats.scale = (0.3, 0.1, -0.2), (0.4, 0.2, 1.0), (1.7, 1.7, 1.7)
    views = shot_cameras(bpy.context, [1], relative_to=splats)
    local = np.array([[0.3, 0.2, 0.1]])
    pixel, depth = project(local, views.viewmats[0], views.Ks[0], views.camera_model)
    expected = stage.pixel_of(scene, splats.matrix_world @ splats.data.attributes["position"].data[0].vector.__class__(local[0]))
    splats.location, splats.rotation_euler, splats.scale = (0, 0, 0), (0, 0, 0), (1, 1, 1)
    return float(np.abs(pixel[0] - expected).max()) if depth[0] > 0 else 1e9


def _up_directions(splats: bpy.types.Object) -> list[Any]:
    """As a capture with -Y up is imported; and tilted, moved and scaled."""
    found = []
    for matrix in (WORLD_FROM_CAPTURE["Y_DOWN"], Matrix.LocRotScale((1, 2, 3), Euler((0.4, 0.2, 1.0)), (1.5, 1.5, 1.5))):
        splats.matrix_world = matrix
        bpy.context.view_layer.update()
        up = up_direction(splats)
        found.append(up if isinstance(up, str) else list((splats.matrix_world.to_3x3() @ Vector(up)).normalized()))
    splats.matrix_world = Matrix()
    bpy.context.view_layer.update()
    return found


def _refusals(scene: bpy.types.Scene, splats: bpy.types.Object, folder: Path) -> dict[str, str]:
    splats.scale = (1, 2, 1)
    lines = {"uneven": stage.one_line(lambda: _compress(folder / "x.exgs", views="SHOT"))}
    splats.scale = (1, 1, 1)
    camera, scene.camera = scene.camera, None
    lines["no camera"] = stage.one_line(lambda: _compress(folder / "x.exgs", views="SHOT"))
    scene.camera = camera
    blocked = folder / "a file"
    blocked.write_text("in the way")
    lines["not a folder"] = _ended(_compress(blocked / "x.exgs"))["message"]
    os.environ["EXGS_PYTHON"] = str(folder / "no-such-python")
    lines["no worker"] = stage.one_line(lambda: _compress(folder / "x.exgs"))
    return lines
