# SPDX-License-Identifier: GPL-3.0-or-later
"""Every class that the add-on registers: its words; and what it leaves on Blender's own data."""

from __future__ import annotations

from typing import Any

import bpy

import exgs_blender.blender as blender

from . import stage

OURS = "exgs"


def run(request: dict[str, Any]) -> dict[str, Any]:
    before = {kind: set(getattr(bpy.types, kind).bl_rna.properties.keys()) for kind in ("Scene", "Object", "WindowManager", "Camera")}
    stage.start()
    added = {kind: sorted(set(getattr(bpy.types, kind).bl_rna.properties.keys()) - names) for kind, names in before.items()}
    classes = [cls for module in blender._modules() for cls in getattr(module, "CLASSES", ())]
    return {
        "added": added,
        "tabs": sorted({cls.bl_category for cls in classes if issubclass(cls, bpy.types.Panel) and hasattr(cls, "bl_category")}),
        "words": {cls.__name__: _words(cls) for cls in classes},
        "operators": {cls.bl_idname: _operator(cls) for cls in classes if issubclass(cls, bpy.types.Operator)},
        "loose": _loose(request["folder"]),
        "undo": _undo(request["folder"]),
    }


def _words(cls: Any) -> dict[str, str]:
    """Property -> tooltip, of those that we declare, and of the items of choices that do not change."""
    found = {}
    for name in _declared(cls):
        prop = cls.bl_rna.properties.get(name)
        if prop is None:
            continue
        found[name] = prop.description
        if prop.type == "ENUM":
            found |= {f"{name}.{item.identifier}": item.description for item in prop.enum_items}
    return found


def _declared(cls: Any) -> list[str]:
    """Our own annotations, also of mixins; not those of Blender's helpers."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("exgs_blender")]
    return [name for base in ours for name in vars(base).get("__annotations__", {})]


def _operator(cls: Any) -> dict[str, Any]:
    return {"tooltip": (cls.__doc__ or "").strip(), "options": sorted(getattr(cls, "bl_options", ()))}


def _loose(folder: str) -> dict[str, list[str]]:
    """Custom properties after an import and compositing: whatever is ours is in the one group."""
    bpy.ops.exgs.import_splats(filepath=stage.write_capture(folder))
    bpy.ops.exgs.setup_compositing()
    bpy.ops.exgs.remove_compositing()
    data = [*bpy.data.scenes, *bpy.data.objects, *bpy.data.node_groups]
    return {item.name: [key for key in item.keys() if key not in (OURS, "cycles")] for item in data}  # noqa: SIM118 (no dict)


def _undo(folder: str) -> dict[str, list[int]]:
    """Objects, scenes and node groups after each step, each undo, each redo; the steps are pushed as a window does after an operator."""
    steps = [
        lambda: None,
        lambda: bpy.ops.exgs.import_splats(filepath=f"{folder}/capture.ply"),
        lambda: bpy.ops.exgs.setup_compositing(),
        lambda: bpy.ops.exgs.remove_compositing(),
    ]
    bpy.ops.wm.read_factory_settings(use_empty=True)
    done, undone, redone = [], [], []
    for step in steps:
        step()
        bpy.ops.ed.undo_push(message="step")
        done.append(_counts())
    for _ in steps[1:]:
        bpy.ops.ed.undo()
        undone.append(_counts())
    for _ in steps[1:]:
        bpy.ops.ed.redo()
        redone.append(_counts())
    return {"done": done, "undone": undone, "redone": redone}


def _counts() -> list[int]:
    return [len(bpy.data.objects), len(bpy.data.scenes), sum(group.name.startswith("ExGS") for group in bpy.data.node_groups)]
