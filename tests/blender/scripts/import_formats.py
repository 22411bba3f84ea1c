# SPDX-License-Identifier: GPL-3.0-or-later
"""Every readable format through the import operator, its options, and edits by Blender's own means afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from exgs_blender.blender import splat_object
from exgs_blender.blender.ops_import import DropSplats

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    stage.start()
    counts, lines = {}, {}
    for path in map(Path, request["files"]):
        before = set(bpy.data.objects)
        line = stage.one_line(lambda path=path: bpy.ops.exgs.import_splats(filepath=str(path)))
        new = set(bpy.data.objects) - before
        if line:
            lines[path.name] = line
        counts[path.name] = sum(len(obj.data.attributes["position"].data) for obj in new)
    return {
        "counts": counts,
        "lines": lines,
        "dropped": DropSplats.bl_file_extensions.split(";"),
        "operator": DropSplats.bl_import_operator,
        "options": _options(request["capture"]),
        "native": _native(),
        "joined": _joined(request["capture"]),
        "duplicate": _duplicate(request["capture"]),
    }


def _import(path: str, **options: Any) -> bpy.types.Object:
    bpy.ops.exgs.import_splats(filepath=path, **options)
    bpy.context.view_layer.update()
    return bpy.context.object


def _read(obj: bpy.types.Object) -> Any:
    return splat_object.gaussians_of(obj, bpy.context.evaluated_depsgraph_get())


def _options(path: str) -> dict[str, Any]:
    whole, opaque = _import(path, up="Z_UP", scale=2.5), _import(path, opaque_only=True)
    kept = splat_object.read_attributes(opaque.data)[splat_object.BASE][:, 3]
    alphas = splat_object.read_attributes(whole.data)[splat_object.BASE][:, 3]
    return {"scale": list(whole.scale), "kept": len(kept), "least": float(kept.min()), "opaque": int((alphas >= 0.5).sum())}


def _native() -> dict[str, Any]:
    """A splat as Blender 5.3's own importer makes it: its attributes, and none of our properties."""
    mesh = bpy.data.meshes.new("native")
    mesh.vertices.add(4)
    kinds = bpy.types.Attribute.bl_rna.properties["data_type"].enum_items
    base = mesh.attributes.new("radiance:base", "FLOAT4" if "FLOAT4" in kinds else "FLOAT_COLOR", "POINT")
    base.data.foreach_set("vector" if base.data_type == "FLOAT4" else "color", np.tile(np.float32([0.5, 0.25, 0, 0.75]), 4))
    mesh.attributes.new("scale", "FLOAT_VECTOR", "POINT").data.foreach_set("vector", np.full(12, 0.1, np.float32))
    mesh.attributes.new("rotation", "QUATERNION", "POINT").data.foreach_set("value", np.tile(np.float32([1, 0, 0, 0]), 4))
    for i in range(3):
        mesh.attributes.new(f"radiance:sh_{i}", "FLOAT_VECTOR", "POINT").data.foreach_set("vector", np.full(12, i, np.float32))
    obj = bpy.data.objects.new("native", mesh)
    bpy.context.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    cloud = _read(obj)
    return {
        "is splat": splat_object.is_splat_object(obj),
        "compress polls": bpy.ops.exgs.compress.poll(),
        "sh": cloud.shN[0, :, 0].tolist(),
        "count": len(cloud),
    }


def _joined(path: str) -> dict[str, Any]:
    """Ctrl-J of a moved copy. (Of a turned one, Blender moves the points and leaves rotations and harmonics as they are.)"""
    first, second = _import(path, up="Z_UP"), _import(path, up="Z_UP")
    second.location.x = 3
    single = _read(first)
    first.select_set(True)
    second.select_set(True)
    bpy.context.view_layer.objects.active = first
    try:
        bpy.ops.object.join()
    except RuntimeError as error:
        return {"refused": str(error)}
    cloud = _read(first)
    if len(cloud) != 2 * len(single):
        return {"refused": f"{len(cloud)} of {2 * len(single)} points"}
    # Either half may come first.
    halves = sorted((cloud.select(np.arange(len(cloud)) < len(single)), cloud.select(np.arange(len(cloud)) >= len(single))), key=_middle)
    moved = np.abs(halves[1].means - single.means - (3, 0, 0)).max()
    return {"refused": "", "moved": float(moved), "sh": float(np.abs(halves[1].shN - single.shN).max())}


def _middle(cloud: Any) -> float:
    return float(cloud.means[:, 0].mean())


def _duplicate(path: str) -> dict[str, Any]:
    """A linked duplicate shares the points, a full one does not; an edit of the copy leaves the original alone."""
    obj = _import(path, up="Z_UP")
    copy = obj.copy()
    copy.data = obj.data.copy()
    bpy.context.collection.objects.link(copy)
    copy.data.attributes["radiance:sh_1"].data[0].vector = (9, 9, 9)
    copy.data.update_tag()
    bpy.context.view_layer.update()
    return {"original": float(_read(obj).shN[0, 1, 0]), "copy": float(_read(copy).shN[0, 1, 0]), "props": copy.exgs.source_path == path}
