# SPDX-License-Identifier: GPL-3.0-or-later
"""The viewport's shader against the image by definition (``render.reference``), drawn offscreen."""

from __future__ import annotations

from typing import Any

import bpy
import gpu
import numpy as np
from mathutils import Euler, Matrix

from exgs_blender import formats
from exgs_blender.blender.viewport import ordering, packing, painter
from exgs_blender.blender.viewport.eye import Eye
from exgs_blender.blender.viewport.painter import Canvas
from exgs_blender.render import reference
from exgs_blender.render.prepared import prepare
from exgs_blender.render.view import view_of
from exgs_blender.splats import SplatObject
from exgs_blender.splats.activation import opacity_from_logit, scale_from_log
from tests.clouds import random_gaussians

WIDTH, HEIGHT = 160, 112
NEAR, FAR = 0.1, 100.0


def run(request: dict[str, Any]) -> dict[str, Any]:
    start_gpu()
    result: dict[str, Any] = {"degrees": {str(degree): _compared(_two_objects(degree), eye()) for degree in range(5)}}
    result["ortho"] = _compared(_two_objects(2), eye(ortho=True))
    result["antialiased"] = _compared(_two_objects(1), eye(antialiased=True))
    result["half floats"] = _compared(_two_objects(3), eye(), "RGBA16F")
    result["no limit on brightness"] = float(drawn(_two_objects(4), eye()).max())
    if request["capture"]:
        result["capture"] = _compared([SplatObject(formats.read(request["capture"]))], eye(focal=100.0, away=6.0))
    result["occlusion"] = _occlusion()
    return result


def start_gpu() -> None:
    """Make the graphics library of this Blender usable without a window: before 5.2 only a Workbench render does."""
    if hasattr(gpu, "init"):
        gpu.init()
        return
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.resolution_x = scene.render.resolution_y = 8
    if scene.camera is None:
        scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(scene.camera)
    bpy.ops.render.render()


def eye(*, ortho: bool = False, antialiased: bool = False, focal: float = 150.0, away: float = 4.0) -> Eye:
    """A view from the front, a little turned, its centre off the image's centre."""
    world_from_view = Matrix.Translation((0.3, -away, 0.8)) @ Euler((1.4, 0.1, 0.05)).to_matrix().to_4x4()
    projection = np.zeros((4, 4))
    if ortho:
        projection[0, 0], projection[1, 1], projection[2, 2], projection[3, 3] = 50 / WIDTH, 50 / HEIGHT, -2 / (FAR - NEAR), 1
        projection[2, 3] = -(FAR + NEAR) / (FAR - NEAR)
    else:
        projection[0, 0], projection[1, 1] = 2 * focal / WIDTH, 2 * focal / HEIGHT
        projection[0, 2], projection[1, 2], projection[3, 2] = 0.1, -0.05, -1
        projection[2, 2:] = -(FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    return Eye(np.linalg.inv(np.array(world_from_view)), projection, WIDTH, HEIGHT, NEAR, antialiased)


def drawn(objects: list[SplatObject], view: Eye, pixel_format: str = "RGBA32F", depth: Any = None) -> np.ndarray:
    """[H, W, 4] premultiplied, row 0 at the top."""
    clouds = {str(number): packed(placed) for number, placed in enumerate(objects)}
    textures = painter.AtlasTextures(packing.pack_atlas(clouds, 4))
    instances = [ordering.Placed(c.means, c.significance, o.world_from_object) for c, o in zip(clouds.values(), objects, strict=True)]
    order = painter.OrderTexture(ordering.view_order(instances, view.clip_from_world, 10**9))
    places = [(key, placed.world_from_object) for key, placed in zip(clouds, objects, strict=True)]
    return pixels(painter.paint(Canvas(pixel_format), textures, order, view, places, depth))


def pixels(texture: Any) -> np.ndarray:
    """[H, W, 4] of a texture, row 0 at the top."""
    height, width = texture.height, texture.width
    found = texture.read()
    found.dimensions = width * height * 4
    return np.array(found, np.float32).reshape(height, width, 4)[::-1]


def packed(placed: SplatObject) -> packing.PackedCloud:
    cloud = placed.gaussians
    coefficients = np.concatenate([cloud.sh0, cloud.shN], axis=1)
    return packing.pack_cloud(cloud.means, cloud.quats, scale_from_log(cloud.scales), opacity_from_logit(cloud.opacities), coefficients)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.mean((a - b) ** 2), 1e-20)))


def _two_objects(degree: int) -> list[SplatObject]:
    """Clouds that interpenetrate; moved, turned and scaled unevenly; of different degrees."""
    places = [
        Matrix.LocRotScale((i * 0.6, i * 0.5, 0), Euler((0.3 * i, 0.5, 0.2)), (1, 1 + 0.5 * i, 1.3 - 2.2 * i)) for i in range(2)
    ]  # the second is mirrored as well
    clouds = [random_gaussians(300, max(degree - i, 0), seed=degree + i) for i in range(2)]
    return [SplatObject(cloud, np.array(place)) for cloud, place in zip(clouds, places, strict=True)]


def _compared(objects: list[SplatObject], view: Eye, pixel_format: str = "RGBA32F") -> dict[str, float]:
    mode = "antialiased" if view.antialiased else "classic"
    frame = reference.render(prepare(objects), view_of(view.cameras, 0), mode)
    found = drawn(objects, view, pixel_format)
    return {
        "rgb": psnr(found[..., :3], frame.rgb),
        "alpha": psnr(found[..., 3], frame.alpha),
        "covered": float(frame.alpha.mean()),
        "colourful": float(frame.rgb.std()),
    }


def _occlusion() -> dict[str, float]:
    """A wall at the depth of the origin in the left half of the image hides what lies behind it, and nothing else."""
    objects, view = _two_objects(0), eye()
    cut = view.clip_from_world @ (0, 0, 0, 1)
    wall = np.ones((HEIGHT, WIDTH, 1), np.float32)
    wall[:, : WIDTH // 2] = 0.5 + 0.5 * cut[2] / cut[3]
    found = drawn(objects, view, depth=painter.texture(wall, "R32F"))
    free, front = drawn(objects, view), _in_front(objects, view, float(cut[3]))
    left, right = np.s_[:, : WIDTH // 2], np.s_[:, WIDTH // 2 :]
    return {
        "right": psnr(found[right], free[right]),
        "left": psnr(found[left], front[left]),
        "hidden": float(np.abs(free - front)[left].mean()),
    }


def _in_front(objects: list[SplatObject], view: Eye, distance: float) -> np.ndarray:
    """The image of the splats nearer than a distance along the view axis."""
    kept = []
    for placed in objects:
        rows = (view.view_from_world @ placed.world_from_object)[2]
        kept.append(
            SplatObject(placed.gaussians.select(-(placed.gaussians.means @ rows[:3] + rows[3]) <= distance), placed.world_from_object)
        )
    return drawn(kept, view)
