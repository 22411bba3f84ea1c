# SPDX-License-Identifier: GPL-3.0-or-later
"""Two turned, stretched, edited objects to every writable format, and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from exgs_blender import formats
from exgs_blender.blender.export_job import ExportOptions, gathered
from exgs_blender.blender.splat_object import create_splat_object
from tests.clouds import random_gaussians

from . import stage

SMALL = {".compressed.ply": 3, ".spz": 3, ".glb": 3, ".sog": 3, "meta.json": 3, ".splat": 0}


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    stage.start()
    first, second = _objects()
    cloud = gathered(bpy.context, ExportOptions())
    np.savez(folder / "expected.npz", **dict(cloud.arrays()), first=np.array(first.matrix_world), second=np.array(second.matrix_world))
    result: dict[str, Any] = {"files": _files(folder, cloud.sh_degree), "lines": _refusals(folder, first, second)}
    result["again"] = _round_trip(folder, first, second)
    result["picked"] = _selection(folder, first, second)
    if request["worker"]:
        result |= _with_worker(folder, first, second)
    return result


def _objects() -> tuple[bpy.types.Object, bpy.types.Object]:
    """One turned and stretched with its first 50 points deleted by geometry nodes, one mirrored with a point moved by hand."""
    from .round_trip import _delete_first

    first = create_splat_object(bpy.context, "first", random_gaussians(150, 3, seed=1))
    first.location, first.rotation_euler, first.scale = (1, 2, 3), (0.3, 0.5, -1.1), (1.5, 1.5, 0.7)
    _delete_first(first, 50)
    second = create_splat_object(bpy.context, "second", random_gaussians(80, 1, seed=2))
    second.scale = (-2, 2, 2)
    second.data.attributes["position"].data[7].vector = (4, 5, 6)
    second.data.update_tag()
    for obj in (first, second):
        obj.select_set(True)
    bpy.context.view_layer.update()
    return first, second


def _files(folder: Path, degree: int) -> dict[str, Any]:
    """Suffix -> the file, for all that can be written here."""
    found = {}
    for suffix in formats.writable_suffixes():
        path = folder / "all" / (f"export{suffix}" if suffix.startswith(".") else suffix)
        line = stage.one_line(
            lambda path=path, suffix=suffix: bpy.ops.exgs.export_splats(filepath=str(path), sh_degree=str(SMALL.get(suffix, 3)))
        )
        found[suffix] = {"path": str(path), "line": line}
    return found


def _refusals(folder: Path, first: bpy.types.Object, second: bpy.types.Object) -> dict[str, str]:
    def write(name: str, **options: Any) -> str:
        return stage.one_line(lambda: bpy.ops.exgs.export_splats(filepath=str(folder / name), **options))

    lines = {"sh": write("x.splat"), "suffix": write("x.obj")}
    (folder / "in the way").write_text("a file")
    lines["folder"] = write("in the way/x.ply")
    bpy.ops.object.select_all(action="DESELECT")
    lines["nothing"] = write("x.ply")
    for obj in (first, second):
        obj.select_set(True)
    lines["files"] = ",".join(path.name for path in folder.glob("x.*"))
    return lines


def _round_trip(folder: Path, first: bpy.types.Object, second: bpy.types.Object) -> float:
    """Exported and imported again, every splat is where it was in the world: largest error of positions."""
    path = folder / "round trip.ply"
    bpy.ops.exgs.export_splats(filepath=str(path), up="Y_DOWN")
    before = gathered(bpy.context, ExportOptions(up="Z_UP"))
    bpy.ops.exgs.import_splats(filepath=str(path), up="Y_DOWN")
    imported = bpy.context.object
    after = gathered(bpy.context, ExportOptions(up="Z_UP"))
    bpy.data.objects.remove(imported)
    for obj in (first, second):
        obj.select_set(True)
    return max(float(np.abs(getattr(before, name) - getattr(after, name)).max()) for name in ("means", "scales", "sh0", "shN"))


def _selection(folder: Path, first: bpy.types.Object, second: bpy.types.Object) -> list[int]:
    """Only one; an instance of both; everything that the scene shows."""
    first.select_set(False)
    bpy.ops.exgs.export_splats(filepath=str(folder / "one"), file_format=".ply")
    counts = [len(formats.read(folder / "one.ply"))]
    inner = bpy.data.collections.new("inner")
    for obj in (first, second):
        inner.objects.link(obj)
    empty = bpy.data.objects.new("instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", inner
    bpy.context.scene.collection.objects.link(empty)
    second.select_set(False)
    empty.select_set(True)
    counts.append(len(gathered(bpy.context, ExportOptions())))
    counts.append(len(gathered(bpy.context, ExportOptions(selected_only=False))))
    bpy.data.objects.remove(empty)
    for obj in (first, second):
        obj.select_set(True)
    return counts


def _with_worker(folder: Path, first: bpy.types.Object, second: bpy.types.Object) -> dict[str, Any]:
    """SOG without an image library here: the worker writes it; .exgs with a ratio."""
    sys.modules["PIL"] = None  # type: ignore[assignment]
    bpy.ops.exgs.export_splats(filepath=str(folder / "by worker.sog"), sh_degree="3")
    bpy.ops.exgs.export_splats(filepath=str(folder / "small.exgs"), ratio=4)
    return {"by worker": [str(folder / "by worker.sog"), str(folder / "small.exgs")]}
