# SPDX-License-Identifier: GPL-3.0-or-later
"""The import operator: good files, turned upright; bad files, one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from mathutils import Vector

from exgs_blender import formats

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    stage.start()
    folder = Path(request["folder"])
    capture = stage.write_capture(request["folder"])
    bpy.ops.exgs.import_splats(filepath=capture)
    obj = bpy.context.object
    upright = [obj.matrix_world.to_3x3() @ Vector(axis) for axis in ((0, -1, 0), (0, 0, 1))]
    result = {
        "name": obj.name,
        "upright": [[round(x, 5) for x in axis] for axis in upright],
        "untouched": [round(x, 4) for x in obj.data.attributes["position"].data[7].vector],
        "in file": [round(float(x), 4) for x in formats.read(capture).means[7]],
        "selected": obj.select_get(),
    }
    bpy.ops.exgs.import_splats(directory=str(folder), files=[{"name": "capture.ply"}, {"name": "capture.ply"}], up="Z_UP")
    result["two more"] = len(bpy.data.objects)
    if request["convert"]:
        bpy.ops.exgs.import_splats(filepath=request["convert"])
        result["converted"] = len(bpy.context.object.data.attributes["position"].data)
    result["lines"] = {name: _line(path) for name, path in _bad_files(folder, capture).items()}
    result["objects after"] = len(bpy.data.objects)
    return result


def _line(path: Path) -> str:
    return stage.one_line(lambda: bpy.ops.exgs.import_splats(filepath=str(path)))


def _bad_files(folder: Path, capture: str) -> dict[str, Path]:
    whole = Path(capture).read_bytes()
    contents = {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "not a splat": b"ply\nformat ascii 1.0\nend_header\n",
        "noise": b"hello",
    }
    for name, content in contents.items():
        (folder / f"{name}.ply").write_bytes(content)
    return {"missing": folder / "nothing.ply", **{name: folder / f"{name}.ply" for name in contents}}
