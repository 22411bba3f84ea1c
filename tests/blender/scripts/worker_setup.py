# SPDX-License-Identifier: GPL-3.0-or-later
"""The installed extension on a machine without a worker: what works all the same, and how the worker comes to it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import bpy

ADDON = "bl_ext.user_default.exgs_blender"


def run(request: dict[str, Any]) -> dict[str, Any]:
    sys.path[:] = [path for path in sys.path if path != request["root"]]
    for name in [name for name in sys.modules if name.partition(".")[0] == "exgs_blender"]:
        del sys.modules[name]
    bpy.ops.extensions.package_install_files(filepath=request["zip"], repo="user_default", enable_on_install=True)
    setup = importlib.import_module(f"{ADDON}.blender.setup_worker")
    runner = importlib.import_module(f"{ADDON}.blender.job_runner").RUNNER
    preferences = bpy.context.preferences.addons[ADDON].preferences
    result = {"without": _without(Path(request["folder"]), request["capture"])}
    result["doctor without"] = _doctor(setup, runner)
    result["offline"] = _line(lambda: bpy.ops.exgs.install_worker())
    result["online access"] = bpy.app.online_access
    result |= _install(setup, runner, preferences, request)
    bpy.ops.preferences.addon_disable(module=ADDON)
    return result


def _line(call: Any) -> str:
    try:
        call()
    except RuntimeError as error:
        return str(error).strip()
    return ""


def _without(folder: Path, capture: str) -> dict[str, Any]:
    """Import, export, reading .exgs; and the refusal of what needs the worker."""
    bpy.ops.exgs.import_splats(filepath=capture)
    original = bpy.context.object
    found = {"imported": len(bpy.context.object.data.attributes["position"].data)}
    for suffix in (".ply", ".splat", ".spz", ".exgs", ".compressed.ply"):
        path = folder / f"export{suffix}"
        bpy.ops.exgs.export_splats(filepath=str(path), sh_degree="0")
        bpy.ops.exgs.import_splats(filepath=str(path))
        found[suffix] = len(bpy.context.object.data.attributes["position"].data)
        bpy.data.objects.remove(bpy.context.object)
        bpy.context.view_layer.objects.active = original
        original.select_set(True)
    found["compress"] = _line(lambda: bpy.ops.exgs.compress(filepath=str(folder / "x.exgs")))
    return found


def _doctor(setup: Any, runner: Any) -> list[str]:
    _line(lambda: bpy.ops.exgs.doctor())
    for task in list(runner.running):
        runner.wait(task)
    return list(setup.last_report)


def _install(setup: Any, runner: Any, preferences: Any, request: dict[str, Any]) -> dict[str, Any]:
    """From a bundle, offline: cancelled, gone on with, and done; then the doctor of what is there; then removed."""
    preferences.bundle = request["broken"]
    result: dict[str, Any] = {"broken": _line(lambda: bpy.ops.exgs.install_worker())}
    preferences.bundle = request["bundle"]
    first = setup.start_installation(preferences, lock=request["lock"])
    while first in runner.running and setup.environment_state(preferences) == "absent":  # until there is something to break off
        runner.poll()
    result["twice"] = _line(lambda: bpy.ops.exgs.install_worker())
    bpy.ops.exgs.cancel_job(index=0)
    runner.wait(first)
    result["cancelled"] = [first.state, setup.environment_state(preferences)]
    second = setup.start_installation(preferences, lock=request["lock"])
    runner.wait(second)
    result["done"] = [second.state, second.message]
    result["python"] = str(setup.chosen_python())
    result["folder"] = str(setup.environment_folder())
    result["doctor with"] = _doctor(setup, runner)
    bpy.ops.exgs.remove_worker()
    result["removed"] = setup.environment_state(preferences)
    return result
