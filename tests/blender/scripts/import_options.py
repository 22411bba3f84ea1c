# SPDX-License-Identifier: GPL-3.0-or-later
"""What the import offers: every readable suffix, dropped files, orientation, scale, opaque only; and splat objects that Blender made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from exgs_blender import formats
from exgs_blender.blender.ops_import import DropSplats
from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import gaussians_of
from exgs_blender.splats.activation import opacity_from_logit, scale_from_log, unit_quats
from tests.clouds import random_gaussians

from . import stage

WITHOUT_WORKER = ("ply", "compressed.ply", "spz", "splat", "glb", "exgs")


def run(request: dict[str, Any]) -> dict[str, Any]:
    stage.start()
    folder = Path(request["folder"])
    return {
        **_told(),
        "takes drops": _takes_drops(),
        **_dropped(folder),
        **_options(folder),
        "opaque": _opaque(folder),
        "native": _native(),
    }


def _told() -> dict[str, Any]:
    """What the file browser shows and the window takes."""
    return {
        "readable": formats.readable_suffixes(),
        "shown": bpy.ops.exgs.import_splats.get_rna_type().properties["filter_glob"].default.split(";"),
        "taken": DropSplats.bl_file_extensions.split(";"),
        "registered": DropSplats.is_registered,
        "operator": DropSplats.bl_import_operator,
    }


def _takes_drops() -> dict[str, bool]:
    """Which areas of the window take a file that is held over them."""
    window = bpy.context.window_manager.windows[0]
    found = {}
    for area in window.screen.areas:
        with bpy.context.temp_override(window=window, area=area):
            found[area.type] = DropSplats.poll_drop(bpy.context)
    return found


def _dropped(folder: Path) -> dict[str, Any]:
    """One file of each format that needs no worker, all at once, as the window hands dropped files over."""
    cloud = random_gaussians(300, 3, seed=4)
    names = [f"drop.{suffix}" for suffix in WITHOUT_WORKER]
    for name in names:
        formats.write(folder / name, cloud.with_sh_degree(0) if name.endswith(".splat") else cloud)
    before = set(bpy.data.objects)
    bpy.ops.exgs.import_splats("EXEC_DEFAULT", directory=str(folder), files=[{"name": name} for name in names])
    objects = sorted(set(bpy.data.objects) - before, key=lambda obj: names.index(Path(obj.exgs.source_path).name))
    return {"dropped": {Path(obj.exgs.source_path).name: [len(_read(obj)), _read(obj).sh_degree] for obj in objects}}


def _read(obj: bpy.types.Object) -> Any:
    return gaussians_of(obj, bpy.context.evaluated_depsgraph_get())


def _options(folder: Path) -> dict[str, Any]:
    """Where the capture's -Y, +Y and +Z ends, and how long it is."""
    found = {}
    for up, axis in (("Y_DOWN", (0, -1, 0)), ("Y_UP", (0, 1, 0)), ("Z_UP", (0, 0, 1))):
        bpy.ops.exgs.import_splats(filepath=str(folder / "drop.ply"), up=up, scale=2.5)
        found[up] = [round(float(x), 4) for x in np.array(bpy.context.object.matrix_world.to_3x3()) @ axis]
    return {"up": found}


def _opaque(folder: Path) -> list[int]:
    """Splats, those of them that are at least half opaque, and those that were imported."""
    cloud = formats.read(folder / "drop.ply")
    bpy.ops.exgs.import_splats(filepath=str(folder / "drop.ply"), opaque_only=True)
    return [len(cloud), int((opacity_from_logit(cloud.opacities) >= 0.5).sum()), len(_read(bpy.context.object))]


def _native() -> dict[str, Any]:
    """An object with nothing but the attributes that Blender 5.3's importer makes: our operators take it."""
    cloud = random_gaussians(40, 2, seed=8)
    data = bpy.data.meshes.new("native")  # the attributes are the same on the point cloud that this becomes where Blender has it
    data.vertices.add(len(cloud))
    base = np.c_[cloud.sh0[:, 0], opacity_from_logit(cloud.opacities)]
    float4 = "FLOAT4" if "FLOAT4" in bpy.types.Attribute.bl_rna.properties["data_type"].enum_items else "FLOAT_COLOR"
    _attribute(data, "position", "FLOAT_VECTOR", "vector", cloud.means)
    _attribute(data, "radiance:base", float4, "vector" if float4 == "FLOAT4" else "color", base)
    _attribute(data, "scale", "FLOAT_VECTOR", "vector", scale_from_log(cloud.scales))
    _attribute(data, "rotation", "QUATERNION", "value", unit_quats(cloud.quats))
    for i in range(8):
        _attribute(data, f"radiance:sh_{i}", "FLOAT_VECTOR", "vector", cloud.shN[:, i])
    obj = bpy.data.objects.new("native", data)
    bpy.context.collection.objects.link(obj)
    for other in bpy.data.objects:
        other.hide_render = other.hide_viewport = other != obj
        other.select_set(False)
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)
    if "POINTCLOUD" in bpy.ops.object.convert.get_rna_type().properties["target"].enum_items:
        bpy.ops.object.convert(target="POINTCLOUD")
    obj = bpy.context.object
    back, placed = _read(obj), SESSION.visible_splats(bpy.context.evaluated_depsgraph_get())[0]
    error = max(float(np.abs(a - b).max()) for (_, a), (_, b) in zip(_comparable(back), _comparable(cloud), strict=True))
    rendered = [len(one.gaussians) for _, one in placed]
    return {"type": obj.type, "error": error, "rendered": rendered, "compress": bpy.ops.exgs.compress.poll()}


def _comparable(cloud: Any) -> list[tuple[str, Any]]:
    values = {**dict(cloud.arrays()), "quats": unit_quats(cloud.quats), "opacities": opacity_from_logit(cloud.opacities)}
    return list(values.items())


def _attribute(data: Any, name: str, kind: str, value: str, values: Any) -> None:
    attribute = data.attributes.get(name) or data.attributes.new(name, kind, "POINT")
    attribute.data.foreach_set(value, np.ascontiguousarray(values, np.float32).ravel())
