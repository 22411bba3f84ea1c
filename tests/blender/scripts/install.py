# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the built zip as a user would, enable it, use it, disable it, remove it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy


def run(request: dict[str, Any]) -> dict[str, Any]:
    # The checkout must not help the installed extension.
    sys.path[:] = [path for path in sys.path if path != request["root"]]
    for name in [name for name in sys.modules if name.partition(".")[0] == "exgs_blender"]:
        del sys.modules[name]
    bpy.ops.extensions.package_install_files(filepath=request["zip"], repo="user_default", enable_on_install=True)
    addon = "bl_ext.user_default.exgs_blender"
    module = sys.modules.get(addon)
    result: dict[str, Any] = {"enabled": addon in bpy.context.preferences.addons, "file": getattr(module, "__file__", "")}
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if addon not in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_enable(module=addon)
    result["import"] = sorted(bpy.ops.exgs.import_splats(filepath=request["capture"]))
    result["object"] = bpy.context.object.type
    result["preferences"] = bpy.context.preferences.addons[addon].preferences.worker_python
    result["frame"] = _render(Path(request["folder"]))
    before = _registered()
    bpy.ops.preferences.addon_disable(module=addon)
    result["registered"], result["left"] = sorted(before), sorted(_registered())
    bpy.ops.preferences.addon_enable(module=addon)
    result["again"] = sorted(_registered()) == sorted(before)
    bpy.ops.preferences.addon_disable(module=addon)
    return result


def _render(folder: Path) -> str:
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera, camera.location, camera.rotation_euler = camera, (0, -6, 0), (1.5708, 0, 0)
    scene.render.engine = "EXGS"
    scene.exgs.restore = False
    scene.render.resolution_x, scene.render.resolution_y = 64, 48
    scene.render.filepath = str(folder / "installed")
    bpy.ops.render.render(write_still=True)
    return str(folder / "installed.png")


def _registered() -> set[str]:
    """Everything of ours that Blender knows."""
    names = {
        f"{kind.__name__}.{cls.__name__}"
        for kind in _KINDS
        for cls in kind.__subclasses__()
        if "exgs" in cls.__module__ and cls.is_registered
    }
    names |= {f"{owner.__name__}.exgs" for owner in (bpy.types.Scene, bpy.types.Object) if hasattr(owner, "exgs")}
    menu = bpy.types.TOPBAR_MT_file_import
    names |= {f"menu {f.__name__}" for f in getattr(menu.draw, "_draw_funcs", ()) if "exgs" in f.__module__}
    shared = [
        p.__name__ for p in bpy.types.Panel.__subclasses__() if "EXGS" in getattr(p, "COMPAT_ENGINES", ()) and "exgs" not in p.__module__
    ]
    return names | {f"panel {name}" for name in shared}


_KINDS = (bpy.types.Operator, bpy.types.Panel, bpy.types.PropertyGroup, bpy.types.AddonPreferences, bpy.types.RenderEngine)
