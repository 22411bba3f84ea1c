# SPDX-License-Identifier: GPL-3.0-or-later
"""The ExGS engine alone: passes, field of view, border, film, instances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import create_splat_object

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    scene = stage.start()
    scene.render.engine = "EXGS"
    stage.write_layers(scene)
    folder = Path(request["folder"])
    result = {
        "fov": [_fov(scene, folder / f"fov{i}", i) for i in range(4)],
        "depth": _depth(scene, folder),
        "border": _border(scene, folder),
        "film": _film(scene, folder),
        "instances": _instances(scene, folder),
        "empty": _empty(scene, folder),
    }
    SESSION.close()
    return result


def _clear() -> None:
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)


def _render(scene: bpy.types.Scene, path: Path) -> str:
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return str(path) + ".exr"


def _fov(scene: bpy.types.Scene, path: Path, variant: int) -> dict[str, Any]:
    """One small splat, away from the axis, through different lenses."""
    _clear()
    scene.render.film_transparent = True
    scene.render.resolution_percentage = (100, 75, 100, 150)[variant]
    point = (0.4, 0.3, 0.8)
    create_splat_object(bpy.context, "dot", stage.dot(point))
    camera = stage.add_camera(scene, (3, -4, 2.5))
    camera.data.lens = (50, 35, 80, 28)[variant]
    camera.data.shift_x, camera.data.shift_y = ((0, 0), (0.1, -0.05), (0, 0), (-0.1, 0.1))[variant]
    camera.data.sensor_fit = ("AUTO", "VERTICAL", "HORIZONTAL", "AUTO")[variant]
    if variant == 2:
        camera.data.type, camera.data.ortho_scale = "ORTHO", 3
    found = {"file": _render(scene, path), "pixel": stage.pixel_of(scene, point)}
    scene.render.resolution_percentage = 100
    return found


def _depth(scene: bpy.types.Scene, folder: Path) -> dict[str, str]:
    """A plane of splats and the same plane as a mesh under Cycles, seen from straight above with a wide lens."""
    _clear()
    create_splat_object(bpy.context, "plane", stage.plane(6000, half=3))
    stage.add_camera(scene, (0.3, 0.2, 2.0), (0.3, 0.2, 0)).data.lens = 18
    scene.view_layers[0].use_pass_z = True
    splats = _render(scene, folder / "depth-splats")
    _clear()
    bpy.ops.mesh.primitive_plane_add(size=6)
    stage.add_camera(scene, (0.3, 0.2, 2.0), (0.3, 0.2, 0)).data.lens = 18
    stage.use_cycles(scene)
    mesh = _render(scene, folder / "depth-mesh")
    scene.render.engine = "EXGS"
    return {"splats": splats, "mesh": mesh}


def _ball(scene: bpy.types.Scene) -> None:
    _clear()
    create_splat_object(bpy.context, "ball", stage.ball())
    stage.add_camera(scene, (3, -4, 2.5))


def _border(scene: bpy.types.Scene, folder: Path) -> dict[str, str]:
    _ball(scene)
    whole = _render(scene, folder / "whole")
    render = scene.render
    render.use_border = True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.3, 0.83, 0.41, 0.9
    part = _render(scene, folder / "border")
    render.use_border = False
    return {"whole": whole, "part": part}


def _film(scene: bpy.types.Scene, folder: Path) -> dict[str, Any]:
    _ball(scene)
    scene.render.film_transparent = False
    world = bpy.data.worlds.new("blue")
    world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
    background.inputs["Color"].default_value = (0.1, 0.3, 0.9, 1)
    background.inputs["Strength"].default_value = 0.5
    scene.world = world
    file = _render(scene, folder / "opaque")
    scene.render.film_transparent = True
    return {"file": file}


def _instances(scene: bpy.types.Scene, folder: Path) -> dict[str, Any]:
    """Two collection instances of one small splat, one of them scaled: each lands where its matrix says."""
    _clear()
    inner = bpy.data.collections.new("inner")
    obj = create_splat_object(bpy.context, "dot", stage.dot((0.1, 0, 0)))
    bpy.context.collection.objects.unlink(obj)
    inner.objects.link(obj)
    for x, scale in ((-0.5, 1.0), (0.4, 2.0)):
        empty = bpy.data.objects.new("instance", None)
        empty.instance_type, empty.instance_collection = "COLLECTION", inner
        empty.location, empty.scale = (x, 0, 0.6), (scale,) * 3
        scene.collection.objects.link(empty)
    hidden = create_splat_object(bpy.context, "hidden", stage.ball())
    hidden.hide_render = True
    stage.add_camera(scene, (0, -4, 0.6))
    return {"file": _render(scene, folder / "instances"), "pixels": [stage.pixel_of(scene, (x, 0, 0.6)) for x in (-0.4, 0.6)]}


def _empty(scene: bpy.types.Scene, folder: Path) -> str:
    _clear()
    stage.add_camera(scene, (0, -4, 0.6))
    return _render(scene, folder / "empty")
