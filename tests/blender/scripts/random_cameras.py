# SPDX-License-Identifier: GPL-3.0-or-later
"""Our projection against Blender's own matrices on random cameras."""

from __future__ import annotations

import random
from typing import Any

import bpy
import numpy as np
from mathutils import Euler, Matrix

from exgs_blender.blender.camera_animation import view_of
from exgs_blender.cameras.conventions import project
from exgs_blender.errors import ExgsError


def run(request: dict[str, Any]) -> dict[str, Any]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    rng = random.Random(7)
    errors = [_error_of_one(rng) for _ in range(request["count"])]
    return {"worst": max(errors), "median": float(np.median(errors)), "refusals": _refusals()}


def _error_of_one(rng: random.Random) -> float:
    """Largest distance in pixels over points in front of one random camera."""
    render = bpy.context.scene.render
    camera = _random_camera(rng, render)
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    evaluated = camera.evaluated_get(depsgraph)
    view = view_of(evaluated, render, 1)
    width, height = int(view.widths[0]), int(view.heights[0])
    clip = _blender_clip_from_world(evaluated, depsgraph, render, width, height)
    points = _points_in_front(np.array(evaluated.matrix_world.normalized(), np.float64), rng)
    ours, depth = project(points, view.viewmats[0], view.Ks[0], view.camera_model)
    homogeneous = np.c_[points, np.ones(len(points))] @ clip.T
    ndc = homogeneous[:, :2] / homogeneous[:, 3:]
    theirs = np.stack([(ndc[:, 0] + 1) / 2 * width, (1 - ndc[:, 1]) / 2 * height], axis=1)
    assert (depth > 0).all()
    inside = (np.abs(ndc) < 1).all(axis=1)
    return float(np.abs(ours - theirs)[inside].max(initial=0.0))


def _random_camera(rng: random.Random, render: bpy.types.RenderSettings) -> bpy.types.Object:
    for old in list(bpy.data.objects):
        bpy.data.objects.remove(old)
    render.resolution_x, render.resolution_y = rng.randint(16, 4000), rng.randint(16, 4000)
    render.resolution_percentage = rng.randint(20, 200)
    render.pixel_aspect_x, render.pixel_aspect_y = rng.choice([(1, 1), (rng.uniform(1, 2), 1), (1, rng.uniform(1, 2))])
    data = bpy.data.cameras.new("camera")
    data.type = rng.choice(["PERSP", "PERSP", "ORTHO"])
    data.sensor_fit = rng.choice(["AUTO", "HORIZONTAL", "VERTICAL"])
    data.sensor_width, data.sensor_height = rng.uniform(8, 70), rng.uniform(8, 70)
    data.lens, data.ortho_scale = rng.uniform(12, 200), rng.uniform(0.5, 20)
    data.shift_x, data.shift_y = rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4)
    camera = bpy.data.objects.new("camera", data)
    bpy.context.scene.collection.objects.link(camera)
    camera.rotation_euler = [rng.uniform(-3, 3) for _ in range(3)]
    camera.location = [rng.uniform(-9, 9) for _ in range(3)]
    camera.scale = [rng.uniform(0.2, 3)] * 3
    if rng.random() < 0.5:
        parent = bpy.data.objects.new("parent", None)
        bpy.context.scene.collection.objects.link(parent)
        parent.matrix_world = Matrix.LocRotScale((1, -2, 3), Euler([rng.uniform(-3, 3) for _ in range(3)]), [rng.uniform(0.3, 3)] * 3)
        camera.parent = parent
    return camera


def _blender_clip_from_world(
    camera: bpy.types.Object, depsgraph: bpy.types.Depsgraph, render: bpy.types.RenderSettings, width: int, height: int
) -> np.ndarray:
    window = camera.calc_matrix_camera(depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y)
    return np.array(window, np.float64) @ np.linalg.inv(np.array(camera.matrix_world.normalized(), np.float64))


def _points_in_front(world_from_camera: np.ndarray, rng: random.Random) -> np.ndarray:
    z = np.array([rng.uniform(2, 60) for _ in range(400)])
    local = np.stack([[rng.uniform(-1, 1) * d for d in z], [rng.uniform(-1, 1) * d for d in z], -z, np.ones(len(z))], axis=1)
    return (local @ world_from_camera.T)[:, :3]


def _refusals() -> list[str]:
    lines = []
    data = bpy.data.cameras.new("fisheye")
    data.type = "PANO"
    for camera in (None, bpy.data.objects.new("fisheye", data)):
        try:
            view_of(camera, bpy.context.scene.render, 1)
        except ExgsError as error:
            lines.append(str(error))
    return lines
