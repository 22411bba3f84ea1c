# SPDX-License-Identifier: GPL-3.0-or-later
"""What compositing offers beyond the depth merge: blending as trained, the view transform's button, shadows on the splats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from exgs_blender.blender import compositor
from exgs_blender.blender.colour_management import colour_warning
from exgs_blender.blender.proxy_object import proxy_of
from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import create_splat_object
from exgs_blender.blender.splat_scene import splat_scene_of
from exgs_blender.splats import concatenate
from exgs_blender.splats.activation import logit_from_opacity

from . import stage

SKY = 0.2
CUBE = (0.9, -0.6, 0.7)
SUN = (0.5, 0.0, -1.0)
PANEL = (-1.1, -0.3, 0.4)


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    scene = stage.start()
    stage.use_cycles(scene)
    cloud = concatenate([stage.plane(), stage.ball()])
    thin = replace(cloud, opacities=np.full_like(cloud.opacities, logit_from_opacity(np.float32(0.15))))
    splats = create_splat_object(bpy.context, "capture", thin)
    stage.add_camera(scene, (0, -5, 4))
    _sky(scene)
    result: dict[str, Any] = {"view": _view_transform(scene)}
    result["blending"] = _blending(scene, folder)
    result["shadows"] = _shadows(scene, splats, folder)
    SESSION.close()
    return result


def _sky(scene: bpy.types.Scene) -> None:
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    sky = next(node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
    sky.inputs["Color"].default_value = (SKY, SKY, SKY, 1)
    scene.world = world


def _view_transform(scene: bpy.types.Scene) -> dict[str, Any]:
    """Set up in an AgX scene: told, and left as it is until the button is pressed."""
    scene.view_settings.view_transform = "AgX"
    bpy.ops.exgs.setup_compositing()
    splats = splat_scene_of(scene)
    found = {"warning": colour_warning(scene), "after": [s.view_settings.view_transform for s in (scene, splats)]}
    bpy.ops.exgs.use_standard_view()
    return found | {"pressed": [s.view_settings.view_transform for s in (scene, splats)], "no warning": colour_warning(scene)}


def _blending(scene: bpy.types.Scene, folder: Path) -> dict[str, Any]:
    """Half-transparent splats over a plain sky: the composite either way, and the layer that went into it."""
    found = {"nodes": [], "links": [], "files": {}}
    for blending in ("LINEAR", "SRGB", "LINEAR"):
        scene.exgs.blending = blending
        tree = compositor.tree_of(scene, create=False)
        found["nodes"].append(sorted(node.name for node in tree.nodes))
        found["links"].append(sorted((x.from_node.name, x.from_socket.name, x.to_node.name, x.to_socket.name) for x in tree.links))
        found["files"][blending] = _render(scene, folder / blending)
    found["files"]["layer"] = _render(splat_scene_of(scene), folder / "layer")
    found["groups"] = [group.name for group in bpy.data.node_groups if group.name.startswith("ExGS")]
    return found


def _render(scene: bpy.types.Scene, path: Path) -> str:
    settings = scene.render.image_settings
    settings.file_format, settings.color_depth, settings.color_mode = "OPEN_EXR", "32", "RGBA"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True, scene=scene.name)
    return f"{path}.exr"


def _shadows(scene: bpy.types.Scene, splats: bpy.types.Object, folder: Path) -> dict[str, Any]:
    """A cube over the ground, the sun straight above it."""
    solid = create_splat_object(bpy.context, "solid", concatenate([stage.plane(), stage.ball()]))
    solid.location.x, solid.rotation_euler.z = 0.3, 0.4
    bpy.data.objects.remove(splats)
    stage.add_glowing_cube(scene, "cube", CUBE, 0.5, (0, 1, 0))
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.rotation_euler = Vector(SUN).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(sun)
    scene.cycles.samples = 16
    bpy.context.view_layer.objects.active = solid
    bpy.ops.exgs.setup_compositing()
    tree = compositor.tree_of(scene, create=False)
    links = len(tree.links)
    files = [_render(scene, folder / "without")]
    bpy.ops.exgs.make_proxy(detail=64)
    proxy = proxy_of(solid)
    found = {"near": _distance_to_surface(proxy, solid), "faces": len(proxy.data.polygons), "up": _share_upward(proxy)}
    files.append(_render(scene, folder / "shadows"))
    found["lighting"] = _lighting(scene, proxy, folder)
    meshes = len(bpy.data.meshes)
    bpy.ops.exgs.make_proxy(detail=32)
    found["again"] = [len([o for o in bpy.data.objects if o.exgs.proxy]), len(bpy.data.meshes) - meshes, len(tree.links) - links]
    found["coarser"] = len(proxy.data.polygons) < found["faces"]
    bpy.ops.exgs.make_proxy(detail=32, role="HOLDOUT")
    found["holdout"] = [proxy.is_holdout, proxy.is_shadow_catcher, len(tree.links) - links, _pass(scene)]
    bpy.ops.exgs.make_proxy(detail=32)
    on = _pass(scene)
    bpy.ops.exgs.remove_compositing()
    found["pass"] = [on, _pass(scene), scene.exgs.shadow_layer]
    found["pixels"] = {
        "shadow": stage.pixel_of(scene, _cast()),
        "lit": stage.pixel_of(scene, (-0.9, -1.2, 0)),
        "panel": stage.pixel_of(scene, PANEL),
    }
    return found | {"files": files}


def _lighting(scene: bpy.types.Scene, proxy: bpy.types.Object, folder: Path) -> dict[str, list[str]]:
    """White panels that stand on the capture, under the sun and then under the sky alone: with the proxy, and without any."""
    stage.add_panel(scene, "panel", PANEL, 0.8, (1, 1, 1))
    sky = next(node for node in scene.world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground").inputs["Strength"]
    sun, compositing = bpy.data.lights["sun"], scene.render.use_compositing
    before = sun.energy, sky.default_value, scene.cycles.samples
    scene.render.use_compositing, scene.cycles.samples = False, 64
    files: dict[str, list[str]] = {}
    for name, energy, strength in (("sun", 2.0, 0.0), ("sky", 0.0, 2.0)):
        sun.energy, sky.default_value = energy, strength
        files[name] = []
        for hidden in (True, False):
            proxy.hide_render = hidden
            files[name].append(_render(scene, folder / f"{name}-{'without' if hidden else 'with'}"))
    sun.energy, sky.default_value, scene.cycles.samples = before
    scene.render.use_compositing = compositing
    bpy.data.objects.remove(bpy.data.objects["panel"])
    return files


def _cast() -> tuple[float, float, float]:
    """Where the middle of the cube's shadow falls on the ground."""
    far = CUBE[2] / -SUN[2]
    return (CUBE[0] + far * SUN[0], CUBE[1] + far * SUN[1], 0.0)


def _pass(scene: bpy.types.Scene) -> bool:
    return scene.view_layers[0].cycles.use_pass_shadow_catcher


def _distance_to_surface(proxy: bpy.types.Object, solid: bpy.types.Object) -> list[float]:
    """Median and 95th percentile of how far the proxy's vertices are from the ground or the ball, in the capture's coordinates."""
    points = np.array([vertex.co[:] for vertex in proxy.data.vertices])
    assert proxy.matrix_world == solid.matrix_world
    ball = np.abs(np.linalg.norm(points - stage.BALL_CENTRE, axis=1) - stage.BALL_RADIUS)
    off = np.minimum(ball, np.abs(points[:, 2]))
    return [float(x) for x in np.quantile(off, (0.5, 0.95))]


def _share_upward(proxy: bpy.types.Object) -> float:
    """Of the ground's faces: those that face the free side."""
    ground = [face for face in proxy.data.polygons if abs(face.center[2]) < 0.05 and abs(face.normal[2]) > 0.8]
    return sum(face.normal[2] > 0 for face in ground) / len(ground)
