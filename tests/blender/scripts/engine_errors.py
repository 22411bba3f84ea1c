# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker is missing, or killed: one line each, and Blender goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import bpy

from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import create_splat_object

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    scene = stage.start()
    scene.render.engine = "EXGS"
    scene.render.film_transparent = True
    create_splat_object(bpy.context, "ball", stage.ball())
    stage.add_camera(scene, (3, -4, 2.0))
    python = os.environ["EXGS_PYTHON"]
    os.environ["EXGS_PYTHON"] = str(folder / "no-such-python")
    lines = {"missing": stage.one_line(_render)}
    os.environ["EXGS_PYTHON"] = __file__  # a file, but nothing that runs
    lines["not a program"] = stage.one_line(_render)
    os.environ["EXGS_PYTHON"] = python
    lines["killed while rendering"] = _render_and_kill()
    scene.render.filepath = str(folder / "after")
    lines["after"] = stage.one_line(lambda: _render(write_still=True))
    first = SESSION.server_pid
    os.kill(first, signal.SIGKILL)
    while SESSION.server_pid:  # None once it is seen to be dead
        time.sleep(0.01)
    lines["killed between frames"] = stage.one_line(_render)
    result = {"lines": lines, "new server": SESSION.server_pid not in (None, first), "after": str(folder / "after.png")}
    camera, scene.camera = scene.camera, None
    lines["no camera"] = stage.one_line(_render)
    scene.camera = camera
    camera.data.type = "PANO"
    lines["panorama"] = stage.one_line(_render)
    camera.data.type = "PERSP"
    result["composite"] = _failing_composite(scene, folder)
    SESSION.close()
    return result


def _render(**options: Any) -> None:
    bpy.ops.render.render(**options)


def _render_and_kill() -> str:
    """Kill the server as soon as it is there: it cannot have answered yet."""

    def kill() -> None:
        while not (pid := SESSION.server_pid):
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    line = stage.one_line(_render)
    killer.join()
    return line


def _failing_composite(scene: bpy.types.Scene, folder: Path) -> str:
    """Inside a composite Blender itself does not stop: the frame must show that it failed."""
    stage.use_cycles(scene)
    bpy.ops.exgs.setup_compositing()
    os.environ["EXGS_PYTHON"] = str(folder / "no-such-python")
    scene.render.filepath = str(folder / "failed")
    stage.one_line(lambda: _render(write_still=True))
    return str(folder / "failed.png")
