# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera files become Blender cameras and come out again; a real capture seen through one of its own photos' cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from exgs_blender.blender.axes import WORLD_FROM_CAPTURE
from exgs_blender.blender.camera_animation import view_of
from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import create_splat_object
from exgs_blender.cameras import Cameras, read_cameras, write_cameras
from exgs_blender.cameras.conventions import project
from exgs_blender.cameras.trajectories import extent_of, orbit

from . import stage

POINTS = np.array([[0.1, 0.2, 0.5], [-0.3, 0.1, 0.7], [0.2, -0.2, 0.4]])


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    stage.start()
    views = _views()
    write_cameras(folder / "views.json", views)
    result = {"plain": _in_and_out(folder, views, None), "set": _set(folder, views)}
    obj = create_splat_object(bpy.context, "ball", stage.ball())
    obj.location, obj.rotation_euler, obj.scale = (1, 2, 3), (0.4, 0.2, 1.0), (1.7, 1.7, 1.7)
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)
    bpy.context.view_layer.update()
    result["with capture"] = _in_and_out(folder, views, obj)
    obj.scale = (1, 2, 1)
    bpy.context.view_layer.update()
    result["lines"] = {
        "uneven": stage.one_line(lambda: bpy.ops.exgs.import_cameras(filepath=str(folder / "views.json"))),
        "bad": stage.one_line(lambda: bpy.ops.exgs.import_cameras(filepath=request["bad"])),
    }
    if request["capture"]:
        result["picture"] = _picture(folder, request)
    SESSION.close()
    return result


def _views() -> Cameras:
    """Five views whose lenses are neither square nor centred, each another."""
    views = orbit(extent_of(stage.ball()), 5, width=96, height=64)
    views.Ks[:, 0, 0] *= 1.1
    views.Ks[:, 0, 2] += 3 * np.arange(5)
    views.Ks[:, :2, :2] *= (1 + 0.1 * np.arange(5))[:, None, None]
    return views


def _in_and_out(folder: Path, views: Cameras, capture: bpy.types.Object | None) -> dict[str, float]:
    """Imported as an animation, exported in every format: how far points land from where the file's own views see them, in pixels."""
    bpy.ops.exgs.import_cameras(filepath=str(folder / "views.json"), kind="ANIMATION")
    if capture is not None:
        bpy.context.view_layer.objects.active = capture
    found = {}
    for file_format, name in (("EXGS", "shot.json"), ("TRANSFORMS", "transforms.json"), ("COLMAP", "colmap.json")):
        path = folder / name
        bpy.ops.exgs.export_cameras(filepath=str(path), file_format=file_format)
        again = read_cameras(path if file_format != "COLMAP" else path.with_suffix(""))
        found[file_format] = _apart(again, views)
    bpy.data.objects.remove(bpy.context.scene.camera)
    return found


def _apart(again: Cameras, views: Cameras) -> float:
    assert len(again) == len(views)
    assert again.widths.tolist() == views.widths.tolist()
    pairs = zip(again.viewmats, again.Ks, views.viewmats, views.Ks, strict=True)
    return max(float(np.abs(project(POINTS, a, K)[0] - project(POINTS, b, L)[0]).max()) for a, K, b, L in pairs)


def _set(folder: Path, views: Cameras) -> dict[str, Any]:
    bpy.ops.exgs.import_cameras(filepath=str(folder / "views.json"), kind="SET", up="Y_UP")
    cameras = bpy.data.collections["Cameras views"].objects
    depsgraph = bpy.context.evaluated_depsgraph_get()
    world_from_file = np.array(WORLD_FROM_CAPTURE["Y_UP"])
    points = POINTS @ world_from_file[:3, :3].T
    apart = 0.0
    for i, name in enumerate(views.names):
        seen = view_of(cameras[name].evaluated_get(depsgraph), bpy.context.scene.render, 1)
        theirs = project(POINTS, views.viewmats[i], views.Ks[i])[0]
        apart = max(apart, float(np.abs(project(points, seen.viewmats[0], seen.Ks[0])[0] - theirs).max()))
    found = {"names": sorted(cameras.keys()), "apart": apart, "active": bpy.context.scene.camera.name}
    for camera in list(cameras):
        bpy.data.objects.remove(camera)
    return found


def _picture(folder: Path, request: dict[str, Any]) -> str:
    """The engine's picture through the first of the capture's held-out cameras."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.exgs.import_splats(filepath=request["capture"])
    bpy.ops.exgs.import_cameras(filepath=request["cameras"], kind="ANIMATION")
    scene.frame_set(scene.frame_start)
    # Over the black world: blended as captures are trained, so that the file has what a viewer shows.
    scene.render.engine, scene.exgs.restore, scene.render.film_transparent = "EXGS", False, False
    scene.render.resolution_percentage = request["percent"]
    stage.write_layers(scene)
    scene.render.filepath = str(folder / "photo")
    bpy.ops.render.render(write_still=True)
    return str(folder / "photo.exr")
