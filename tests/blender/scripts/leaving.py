# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are saved and opened while a compression runs; Blender closes, and Blender dies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import bpy

import exgs_blender.blender as blender
from exgs_blender.blender.job_runner import RUNNER, Task

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    stage.start()
    capture = stage.write_capture(request["folder"])
    bpy.ops.exgs.import_splats(filepath=capture, up="Z_UP")
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "first.blend"))
    task = _started(folder / "went on.exgs")
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "second.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    RUNNER.wait(task)
    result: dict[str, Any] = {"other file": {"state": task.state, "message": task.message, "objects": len(bpy.data.objects)}}
    bpy.ops.wm.open_mainfile(filepath=str(folder / "second.blend"))
    result["saved"] = {"objects": [obj.name for obj in bpy.data.objects], "shown": not bpy.data.objects[0].hide_render}
    bpy.context.view_layer.objects.active = bpy.data.objects[0]
    closed = _started(folder / "closed.exgs")
    waiting = _compress(folder / "waiting.exgs")
    blender._close_processes()
    result["closed"] = [closed.state, waiting.state]
    died = _started(folder / "died.exgs")
    result["pid"] = died.job.pid
    return result  # the harness ends this process at once, as a crash does


def _compress(target: Path) -> Task:
    bpy.ops.exgs.compress(filepath=str(target), ratio=25)
    return RUNNER.running[-1]


def _started(target: Path) -> Task:
    task = _compress(target)
    while task.stage in ("starting", "read"):
        time.sleep(0.02)
        RUNNER.poll()
    return task
