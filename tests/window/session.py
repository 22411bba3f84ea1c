# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives Blender's own window, step by step, with screenshots; runs inside Blender.

Steps are a generator that a timer drives, since the window must live between them: ``yield seconds``. Facts and the names of
the screenshots go to ``facts.json``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
from mathutils import Quaternion

REQUEST = json.loads(Path(os.environ["EXGS_WINDOW_REQUEST"]).read_text(encoding="utf-8"))
OUT = Path(REQUEST["folder"])
ADDON = "bl_ext.user_default.exgs_blender"
FACTS: dict[str, Any] = {"version": bpy.app.version_string, "shots": {}}
PATIENCE = 120.0


def install() -> Iterator[float]:
    """Install the zip as a user does, and open a new file without the cube."""
    bpy.context.preferences.view.show_splash = False
    bpy.ops.extensions.package_install_files(filepath=REQUEST["zip"], repo="user_default", enable_on_install=True)
    bpy.ops.wm.read_homefile(use_empty=False, app_template="")
    yield 1.0
    if ADDON not in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_enable(module=ADDON)
    for obj in list(bpy.data.objects):
        if obj.type != "LIGHT":
            bpy.data.objects.remove(obj)
    FACTS["enabled"] = ADDON in bpy.context.preferences.addons


def settled() -> Iterator[float]:
    """Until the 3D view is still and has all its splats."""
    area().tag_redraw()
    yield 0.5
    yield from until(lambda: not module("viewport.draw").VIEWPORT.waits)
    area().tag_redraw()
    yield 1.0


def until(ready: Callable[[], bool], patience: float = PATIENCE) -> Iterator[float]:
    waited = 0.0
    while not ready():
        assert waited < patience, "waited too long"
        yield 0.3
        waited += 0.3


def shot(name: str, wait: float = 0.3) -> Iterator[float]:
    """A picture of the whole screen."""
    area().tag_redraw()
    if wait:
        yield wait
    file = f"{name.replace(' ', '_')}.png"
    if shutil.which("import"):  # ImageMagick's; Blender's own screenshot is black on a virtual screen
        subprocess.run(["import", "-window", "root", str(OUT / file)], check=True)
    else:
        bpy.ops.screen.screenshot(filepath=str(OUT / file))
    FACTS["shots"][name] = file
    region = next(r for r in area().regions if r.type == "WINDOW")
    FACTS["region"] = [region.x, region.y, region.width, region.height]
    yield 0.1


def look(centre: Any, distance: float, turn: float, tilt: float = 1.35) -> None:
    """Point the 3D view at a place; angles in radians about the vertical, and from straight down."""
    region = space().region_3d
    region.view_perspective = "PERSP"
    region.view_location = centre
    region.view_distance = distance
    region.view_rotation = Quaternion((0, 0, 1), turn) @ Quaternion((1, 0, 0), tilt)


def sidebar(shown: bool) -> Iterator[float]:
    """The N-panel, at our tab."""
    space().show_region_ui = shown
    yield 1.0
    for region in area().regions:
        if shown and region.type == "UI" and hasattr(region, "active_panel_category"):
            region.active_panel_category = "ExGS"
    yield 1.0


def area() -> Any:
    return next(area for area in bpy.context.window_manager.windows[0].screen.areas if area.type in ("VIEW_3D", "IMAGE_EDITOR"))


def space() -> Any:
    return area().spaces.active


def window() -> Any:
    """The context that operators of the window need."""
    return bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area(), region=area().regions[-1])


def module(name: str) -> Any:
    """A module of the installed extension."""
    return sys.modules[f"{ADDON}.blender.{name}"]


def drive(visit: Iterator[float]) -> None:
    """Run the steps, write the facts, and leave."""

    def tick() -> float | None:
        try:
            return max(next(visit), 0.01)
        except StopIteration:
            FACTS["finished"] = True
        except BaseException:
            FACTS["error"] = traceback.format_exc()
        (OUT / "facts.json").write_text(json.dumps(FACTS), encoding="utf-8")
        sys.stdout.flush()
        os._exit(0)

    bpy.app.timers.register(tick, first_interval=2.0, persistent=True)
