# SPDX-License-Identifier: GPL-3.0-or-later
"""Calibrated views as Blender cameras: one that moves from view to view, or one for each."""

from __future__ import annotations

import bpy
from mathutils import Matrix

from ..cameras import Cameras
from ..cameras.conventions import BlenderLens, lens_from_K, matrix_world_from_cam_from_world

KEYED = ("location", "rotation_quaternion")
KEYED_LENS = ("lens", "shift_x", "shift_y")


def animated_camera(context: bpy.types.Context, name: str, views: Cameras, world_from_file: Matrix, first_frame: int) -> bpy.types.Object:
    """One camera with a key at each view, a frame apart, and the scene's frame range around them."""
    camera = _new_camera(context, name, views, 0, world_from_file)
    camera.rotation_mode = "QUATERNION"
    before = None
    for i in range(len(views)):
        _place(camera, views, i, world_from_file)
        if before is not None:  # q and -q are the same rotation, but the way between keys is not
            camera.rotation_quaternion.make_compatible(before)
        before = camera.rotation_quaternion.copy()
        for path in KEYED:
            camera.keyframe_insert(path, frame=first_frame + i)
        for path in KEYED_LENS:
            camera.data.keyframe_insert(path, frame=first_frame + i)
    context.scene.frame_start, context.scene.frame_end = first_frame, first_frame + len(views) - 1
    return camera


def camera_set(context: bpy.types.Context, name: str, views: Cameras, world_from_file: Matrix) -> list[bpy.types.Object]:
    """A camera for each view, named as its image, in a collection of their own."""
    collection = bpy.data.collections.new(name)
    context.collection.children.link(collection)
    cameras = []
    for i in range(len(views)):
        camera = _new_camera(context, views.names[i], views, i, world_from_file)
        for other in list(camera.users_collection):
            other.objects.unlink(camera)
        collection.objects.link(camera)
        cameras.append(camera)
    return cameras


def match_resolution(scene: bpy.types.Scene, views: Cameras, index: int = 0) -> None:
    """Render as large as a view's image, with its pixels' shape."""
    lens = _lens(views, index)
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = lens.resolution_x, lens.resolution_y, 100
    render.pixel_aspect_x, render.pixel_aspect_y = lens.pixel_aspect_x, lens.pixel_aspect_y


def _lens(views: Cameras, index: int) -> BlenderLens:
    return lens_from_K(views.Ks[index], int(views.widths[index]), int(views.heights[index]))


def _new_camera(context: bpy.types.Context, name: str, views: Cameras, index: int, world_from_file: Matrix) -> bpy.types.Object:
    data = bpy.data.cameras.new(name)
    camera = bpy.data.objects.new(name, data)
    context.collection.objects.link(camera)
    data.sensor_fit, data.clip_start, data.clip_end = "HORIZONTAL", views.near_plane, min(views.far_plane, 1e5)
    _place(camera, views, index, world_from_file)
    return camera


def _place(camera: bpy.types.Object, views: Cameras, index: int, world_from_file: Matrix) -> None:
    matrix = world_from_file @ Matrix(matrix_world_from_cam_from_world(views.viewmats[index]).tolist())
    location, rotation, _ = matrix.decompose()  # a scale moves the camera, but does not change its picture
    camera.matrix_world = Matrix.LocRotScale(location, rotation, None)
    lens, data = _lens(views, index), camera.data
    data.sensor_width = lens.sensor_width
    if views.camera_model == "ortho":
        data.type, data.ortho_scale = "ORTHO", float(views.widths[index] / views.Ks[index][0, 0])
    else:
        data.lens = lens.lens
    data.shift_x, data.shift_y = lens.shift_x, lens.shift_y
