# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's evaluated camera -> ``Cameras``, for one frame or for a shot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..cameras import Cameras, concatenate
from ..cameras.conventions import BlenderLens, K_from_blender, cam_from_world_from_blender
from ..cameras.names import safe_name
from ..errors import ExgsError

Space = bpy.types.Object | Matrix | None
RENDERABLE = ("PERSP", "ORTHO")
SIMILARITY_TOLERANCE = 1e-4


def lens_of(camera: bpy.types.Camera, render: bpy.types.RenderSettings, size: tuple[int, int] | None = None) -> BlenderLens:
    """The projection of a camera data-block; ``size`` overrides the scene's resolution (pixels, percentage applied).

    Raises:
        ExgsError: the camera is neither perspective nor orthographic.
    """
    if camera.type not in RENDERABLE:
        raise ExgsError(f"camera '{camera.name}' is of type {camera.type}; ExGS renders perspective and orthographic cameras")
    width, height = size or (render.resolution_x, render.resolution_y)
    return BlenderLens(
        resolution_x=width,
        resolution_y=height,
        resolution_percentage=100 if size else render.resolution_percentage,
        pixel_aspect_x=render.pixel_aspect_x,
        pixel_aspect_y=render.pixel_aspect_y,
        type=camera.type,
        lens=camera.lens,
        ortho_scale=camera.ortho_scale,
        sensor_fit=camera.sensor_fit,
        sensor_width=camera.sensor_width,
        sensor_height=camera.sensor_height,
        shift_x=camera.shift_x,
        shift_y=camera.shift_y,
    )


def view_of(camera: bpy.types.Object | None, render: bpy.types.RenderSettings, frame: int, size: tuple[int, int] | None = None) -> Cameras:
    """One view through an *evaluated* camera object.

    The near plane is the camera's clip start. Its clip end is not used: a capture's sky lies far beyond it.

    Raises:
        ExgsError: there is no camera, or not one that ExGS can render.
    """
    if camera is None or camera.type != "CAMERA":
        raise ExgsError("the scene has no camera; add one and make it the active camera")
    lens = lens_of(camera.data, render, size)
    width, height = lens.size
    return Cameras(
        viewmats=cam_from_world_from_blender(np.array(camera.matrix_world))[None],
        Ks=K_from_blender(lens)[None],
        widths=np.array([width]),
        heights=np.array([height]),
        frames=np.array([frame]),
        names=(f"{frame:04d}",),
        camera_model=lens.camera_model,
        near_plane=camera.data.clip_start,
    )


def cropped(view: Cameras, left: int, top: int, width: int, height: int) -> Cameras:
    """The same views through a window of the image: pixels from its top left corner."""
    Ks = view.Ks.copy()
    Ks[:, 0, 2] -= left
    Ks[:, 1, 2] -= top
    return replace(view, Ks=Ks, widths=np.full(len(view), width), heights=np.full(len(view), height))


def shot_frames(scene: bpy.types.Scene) -> range:
    """The frame numbers that rendering the animation would render."""
    return range(scene.frame_start, scene.frame_end + 1, scene.frame_step)


def shot_cameras(context: bpy.types.Context, frames: Iterable[int], relative_to: Space = None) -> Cameras:
    """The scene's camera at these frames, in world space, in the object space of ``relative_to`` (which may move too), or in the
    space that the matrix ``relative_to`` leads from to the world.

    Goes through the frames, so that drivers, constraints and camera markers count, and back to the current one.

    Raises:
        ExgsError: no usable camera; or the object is sheared or scaled unevenly, so that its space has no camera.
    """
    return _sampled(context, frames, relative_to, lambda scene: [scene.camera])


def scene_cameras(context: bpy.types.Context, frames: Iterable[int], relative_to: Space = None) -> Cameras:
    """Every camera of the scene at these frames, one that stands still only once; else as :func:`shot_cameras`.

    Cameras that ExGS cannot render (panoramic ones) are left out.
    """
    cameras = [obj for obj in context.scene.objects if obj.type == "CAMERA" and obj.data.type in RENDERABLE]
    return _sampled(context, frames, relative_to, lambda scene: cameras)


def _sampled(
    context: bpy.types.Context,
    frames: Iterable[int],
    relative_to: Space,
    cameras_of: Callable[[bpy.types.Scene], Sequence[bpy.types.Object | None]],
) -> Cameras:
    scene = context.scene
    before = (scene.frame_current, scene.frame_subframe)
    views: list[Cameras] = []
    seen: set[bytes] = set()
    try:
        for frame in frames:
            scene.frame_set(frame)
            depsgraph = context.evaluated_depsgraph_get()
            cameras = cameras_of(scene)
            for camera in cameras:
                view = view_of(camera and camera.evaluated_get(depsgraph), scene.render, frame)
                if isinstance(relative_to, Matrix):
                    view = replace(view, viewmats=view.viewmats @ np.array(relative_to, np.float64))
                elif relative_to is not None:
                    view = _in_object_space(view, relative_to.evaluated_get(depsgraph))
                if camera is not None and len(cameras) > 1:
                    if (same := view.viewmats.tobytes() + view.Ks.tobytes()) in seen:
                        continue
                    seen.add(same)
                    view = replace(view, names=(f"{safe_name(camera.name)}_{frame:04d}",))
                views.append(view)
    finally:
        scene.frame_set(before[0], subframe=before[1])
    if not views:
        raise ExgsError("no camera to look through: the scene has none that ExGS can render, or its frame range is empty")
    return replace(concatenate(views), near_plane=min(view.near_plane for view in views))


def _in_object_space(view: Cameras, obj: bpy.types.Object) -> Cameras:
    """cam_from_object = cam_from_world @ world_from_object; depths stay in world units, a uniform scale goes along."""
    if uneven(obj.matrix_world):
        raise ExgsError(
            f"'{obj.name}' is scaled unevenly or sheared, which no camera of the shot can be expressed in; "
            "apply its scale, or compress for 'Everywhere'"
        )
    return replace(view, viewmats=view.viewmats @ np.array(obj.matrix_world, np.float64))


def up_direction(obj: bpy.types.Object) -> str | list[float]:
    """What points up in the world, in the object's own axes: the name of an axis such as "-y" where it is one, else a vector [3]."""
    up = (obj.matrix_world.to_3x3().inverted_safe() @ Vector((0, 0, 1))).normalized()
    axis = max(range(3), key=lambda i: abs(up[i]))
    if abs(up[axis]) > 1 - SIMILARITY_TOLERANCE:
        return f"{'+' if up[axis] > 0 else '-'}{'xyz'[axis]}"
    return list(up)


def uneven(matrix: Matrix) -> bool:
    """Whether a matrix shears or scales unevenly, so that no camera can follow it."""
    linear = np.array(matrix, np.float64)[:3, :3]
    scale = np.cbrt(abs(np.linalg.det(linear)))
    return bool(scale == 0 or not np.allclose(linear.T @ linear, scale**2 * np.eye(3), atol=SIMILARITY_TOLERANCE * scale**2))
