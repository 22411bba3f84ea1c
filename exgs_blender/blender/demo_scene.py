# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's part in Blender, run as ``python -m exgs_blender.blender.demo_scene STEP PARAMETERS-AS-JSON``.

Steps: ``builtin`` bakes the built-in scene, ``flythrough`` imports an asset with the add-on's own operators,
animates the camera and renders the composite over a Cycles scene, ``video`` joins frames. Progress goes to
stdout as protocol lines between Blender's own chatter.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Quaternion

from .. import formats
from ..cameras import Cameras, read_cameras
from ..cameras.conventions import lens_from_K, matrix_world_from_cam_from_world
from ..errors import ExgsError
from ..worker.protocol import Done, Failed, Progress, encode
from .render_session import SESSION

CYCLES_SAMPLES = 24


def builtin(target: str) -> dict[str, Any]:
    """Write the built-in scene as a PLY."""
    from .builtin_scene import make_builtin_scene

    _report("bake the built-in scene", 0.0)
    gaussians = make_builtin_scene()
    formats.write(target, gaussians)
    _report("bake the built-in scene", 1.0)
    return {"count": len(gaussians)}


def flythrough(asset: str, cameras: str, output: str, up: str, centre: list[float], radius: float) -> dict[str, Any]:
    """Import ``asset``, fly the cameras, render the composite of every frame to ``output/NNNN.png``.

    Args:
        cameras: camera file in the capture's space; one view per frame.
        up: "Y_DOWN", "Y_UP" or "Z_UP", the import operator's words.
        centre, radius: where the subject is, in the capture's space: a ring is laid around it.
    """
    import exgs_blender

    bpy.ops.wm.read_factory_settings(use_empty=True)
    exgs_blender.register()
    scene = bpy.context.scene
    scene.view_settings.view_transform = "Standard"
    views = read_cameras(cameras)
    bpy.ops.exgs.import_splats(filepath=asset, up=up)
    splats = bpy.context.object
    if splats is None:
        raise ExgsError(f"{asset}: the import operator made no object")
    _animate_camera(scene, views, splats.matrix_world)
    _cg_objects(scene, splats.matrix_world @ Matrix.Translation(centre), radius, len(views))
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = CYCLES_SAMPLES
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = os.path.join(output, "####")
    bpy.ops.exgs.setup_compositing()
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(output, os.pardir, "flythrough.blend"))
    _render_frames(scene, len(views))
    exgs_blender.unregister()
    return {"frames": [os.path.join(output, f"{frame:04d}.png") for frame in range(1, len(views) + 1)]}


def video(frames: list[str], target: str, fps: int) -> dict[str, Any]:
    """Join PNG frames into an H.264 file with Blender's sequencer."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.view_settings.view_transform = "Standard"
    editor = scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    strip = strips.new_image("frames", frames[0], 1, 1)
    for frame in frames[1:]:
        strip.elements.append(Path(frame).name)
    width, height = strip.elements[0].orig_width, strip.elements[0].orig_height
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = width - width % 2, height - height % 2, 100
    render.fps = fps
    scene.frame_start, scene.frame_end = 1, len(frames)
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec = "MPEG4", "H264"
    render.ffmpeg.constant_rate_factor = "HIGH"
    render.filepath = target
    bpy.ops.render.render(animation=True)
    if not Path(target).is_file():
        raise ExgsError(f"{target}: Blender wrote no video")
    return {"video": target}


def _animate_camera(scene: bpy.types.Scene, views: Cameras, world_from_capture: Matrix) -> None:
    """One keyed pose per view; lens and resolution from the first."""
    lens = lens_from_K(views.Ks[0], int(views.widths[0]), int(views.heights[0]))
    data = bpy.data.cameras.new("flight")
    data.lens, data.sensor_width, data.sensor_fit = lens.lens, lens.sensor_width, lens.sensor_fit
    data.shift_x, data.shift_y = lens.shift_x, lens.shift_y
    data.clip_start, data.clip_end = max(views.near_plane, 1e-3), min(views.far_plane, 1e5)
    camera = bpy.data.objects.new("flight", data)
    camera.rotation_mode = "QUATERNION"
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = lens.resolution_x, lens.resolution_y
    scene.frame_start, scene.frame_end = 1, len(views)
    previous = Quaternion()
    for i in range(len(views)):
        pose = world_from_capture @ Matrix(matrix_world_from_cam_from_world(views.viewmats[i]))
        rotation = pose.to_quaternion()
        rotation.make_compatible(previous)  # the short way round between frames
        camera.location, camera.rotation_quaternion, previous = pose.to_translation(), rotation, rotation
        camera.keyframe_insert("location", frame=i + 1)
        camera.keyframe_insert("rotation_quaternion", frame=i + 1)


def _cg_objects(scene: bpy.types.Scene, world_from_subject: Matrix, radius: float, frames: int) -> None:
    """A gold ring around the subject, half before and half behind it, and a ball that circles on it; sky and sun."""
    upright = Matrix.Translation(world_from_subject.to_translation())
    ring_radius = 0.42 * radius
    bpy.ops.mesh.primitive_torus_add(major_radius=ring_radius, minor_radius=0.022 * radius, major_segments=96, minor_segments=24)
    ring = bpy.context.object
    ring.matrix_world = upright @ Matrix.Rotation(0.22, 4, "X")
    bpy.ops.object.shade_smooth()
    ring.data.materials.append(_material("gold", (1.0, 0.62, 0.18, 1.0), metallic=1.0, roughness=0.18))
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.08 * radius, segments=48, ring_count=24)
    ball = bpy.context.object
    bpy.ops.object.shade_smooth()
    ball.data.materials.append(_material("red glaze", (0.75, 0.03, 0.02, 1.0), metallic=0.0, roughness=0.12))
    for frame in range(1, frames + 1):
        angle = 2 * np.pi * (frame - 1) / max(frames, 1)
        ball.location = (
            ring.matrix_world @ Matrix.Translation((ring_radius * np.cos(angle), ring_radius * np.sin(angle), 0)).to_translation()
        )
        ball.keyframe_insert("location", frame=frame)
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy, sun.angle = 3.0, 0.05
    sun_object = bpy.data.objects.new("sun", sun)
    sun_object.rotation_euler = (0.75, 0.25, 0.6)
    scene.collection.objects.link(sun_object)
    scene.world = bpy.data.worlds.new("sky")
    scene.world.use_nodes = True
    background = scene.world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.16, 0.23, 0.34, 1.0)


def _material(name: str, colour: tuple[float, float, float, float], metallic: float, roughness: float) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = colour
    shader.inputs["Metallic"].default_value = metallic
    shader.inputs["Roughness"].default_value = roughness
    return material


def _render_frames(scene: bpy.types.Scene, frames: int) -> None:
    """The animation render of Blender itself; a handler counts the frames."""

    def written(*_args: object) -> None:
        _report("render in Blender", min(scene.frame_current / frames, 1.0))

    bpy.app.handlers.render_write.append(written)
    _report("render in Blender", 0.0)
    try:
        bpy.ops.render.render(animation=True)
    finally:
        bpy.app.handlers.render_write.remove(written)
    if SESSION.failures:  # Blender goes on after a failed frame; a demo must not
        raise ExgsError(SESSION.failures[0])


def _report(stage: str, fraction: float) -> None:
    print("\n" + encode(Progress(stage, fraction)), flush=True)


def main(arguments: list[str]) -> int:
    """Run one step; the last line is Done or Failed."""
    steps: dict[str, Callable[..., dict[str, Any]]] = {"builtin": builtin, "flythrough": flythrough, "video": video}
    try:
        message: Done | Failed = Done(steps[arguments[0]](**json.loads(arguments[1])))
    except (ExgsError, RuntimeError) as error:  # bpy's operators raise RuntimeError with their report
        traceback.print_exc()
        message = Failed(str(error).strip().removeprefix("Error: "), type(error).__name__)
    print("\n" + encode(message), flush=True)
    return 0 if isinstance(message, Done) else 1


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Blender 4.5's module may hang at a normal interpreter exit
