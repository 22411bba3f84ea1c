# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene that the Blender tests film: a chequered ground and a red ball of Gaussians."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from exgs_blender import formats
from exgs_blender.splats import Gaussians, concatenate
from exgs_blender.splats.activation import logit_from_opacity, sh0_from_rgb

BALL_CENTRE = (0.0, 0.0, 0.6)
BALL_RADIUS = 0.5


def start() -> bpy.types.Scene:
    """The add-on registered, an empty file, small frames, nothing between our values and the picture."""
    import exgs_blender

    exgs_blender.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = 96, 64
    scene.view_settings.view_transform = "Standard"
    scene.render.dither_intensity = 0
    scene.render.image_settings.file_format = "PNG"
    scene.exgs.restore = False
    return scene


def plane(count: int = 6000, half: float = 2.0, seed: int = 0) -> Gaussians:
    """Flat opaque Gaussians on z = 0, chequered."""
    rng = np.random.default_rng(seed)
    means = np.c_[rng.uniform(-half, half, (count, 2)), np.zeros(count)]
    odd = (np.floor(means[:, 0] * 2) + np.floor(means[:, 1] * 2)) % 2 > 0
    rgb = np.where(odd[:, None], [0.8, 0.7, 0.5], [0.2, 0.3, 0.6]).astype(np.float32)
    size = 1.8 * half / np.sqrt(count)
    return _cloud(means, (size, size, size / 20), 0.99, rgb, np.zeros((count, 3, 3)))


def ball(count: int = 1500, seed: int = 1) -> Gaussians:
    """A red ball whose SH makes it change a little with the view."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    rgb = np.tile(np.float32([0.9, 0.2, 0.1]), (count, 1))
    return _cloud(direction * BALL_RADIUS + BALL_CENTRE, (0.04, 0.04, 0.04), 0.97, rgb, rng.normal(0, 0.05, (count, 3, 3)))


def dot(position: tuple[float, float, float], size: float = 0.01) -> Gaussians:
    """One small white Gaussian."""
    return _cloud(np.array([position]), (size, size, size), 0.99, np.ones((1, 3), np.float32), np.zeros((1, 0, 3)))


def _cloud(means: Any, scale: tuple[float, float, float], opacity: float, rgb: Any, rest: Any) -> Gaussians:
    count = len(means)
    return Gaussians(
        means=means,
        quats=np.tile([1.0, 0, 0, 0], (count, 1)),
        scales=np.tile(np.log(scale), (count, 1)),
        opacities=np.full(count, logit_from_opacity(np.float32(opacity))),
        sh0=sh0_from_rgb(rgb)[:, None],
        shN=rest,
    )


def write_capture(folder: str) -> str:
    """The whole scene as a PLY file."""
    path = Path(folder) / "capture.ply"
    formats.write(path, concatenate([plane(), ball()]))
    return str(path)


def add_camera(scene: bpy.types.Scene, location: tuple[float, ...], target: tuple[float, ...] = BALL_CENTRE) -> bpy.types.Object:
    """The scene's camera at a place, looking at another."""
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    camera.location = location
    camera.rotation_euler = (Vector(target) - Vector(location)).to_track_quat("-Z", "Y").to_euler()
    scene.camera = camera
    return camera


def add_glowing_cube(scene: bpy.types.Scene, name: str, centre: Any, size: float, colour: tuple[float, float, float]) -> bpy.types.Object:
    """A cube whose picture is exactly one colour."""
    corners = [(x * size / 2, y * size / 2, z * size / 2) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(corners, [], [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
    mesh.materials.append(_material(name, "ShaderNodeEmission", colour))
    cube = bpy.data.objects.new(name, mesh)
    cube.location = centre
    scene.collection.objects.link(cube)
    return cube


def add_panel(scene: bpy.types.Scene, name: str, centre: Any, size: float, colour: tuple[float, float, float]) -> bpy.types.Object:
    """A matt upright square that faces the camera's side, -Y, and leans back a little."""
    half = size / 2
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(-half, -0.1, -half), (half, -0.1, -half), (half, 0.1, half), (-half, 0.1, half)], [], [(0, 1, 2, 3)])
    mesh.materials.append(_material(name, "ShaderNodeBsdfDiffuse", colour))
    panel = bpy.data.objects.new(name, mesh)
    panel.location = centre
    scene.collection.objects.link(panel)
    return panel


def _material(name: str, shader: str, colour: tuple[float, float, float]) -> bpy.types.Material:
    """One shader alone."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = material.node_tree.nodes
    nodes.clear()
    surface, output = nodes.new(shader), nodes.new("ShaderNodeOutputMaterial")
    surface.inputs["Color"].default_value = (*colour, 1)
    material.node_tree.links.new(surface.outputs[0], output.inputs["Surface"])
    return material


def use_cycles(scene: bpy.types.Scene) -> None:
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = 1
    scene.cycles.use_denoising = False
    scene.cycles.pixel_filter_type = "BOX"


def write_layers(scene: bpy.types.Scene) -> None:
    """Render to multilayer EXR files, full float."""
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER"
    settings.color_depth = "32"


def pixel_of(scene: bpy.types.Scene, point: Any) -> list[float]:
    """Where a world point lands, by Blender's own function: pixels from the top left corner."""
    bpy.context.view_layer.update()
    x, y, _ = world_to_camera_view(scene, scene.camera, Vector(point))
    factor = scene.render.resolution_percentage / 100
    return [x * int(scene.render.resolution_x * factor), (1 - y) * int(scene.render.resolution_y * factor)]


def one_line(call: Any) -> str:
    """The error that an operator raised, or an empty string."""
    try:
        call()
    except RuntimeError as error:
        return str(error).strip()
    return ""
