# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene beside the CG scene in which the ExGS engine renders the same splat objects through the same camera."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from .colour_management import copy_view
from .engine import ExgsRenderEngine
from .properties import RAY_FLAGS
from .splat_object import is_splat_object

# What a splat scene takes over when it is set up. Resolution, border and frame also come with each request of
# the compositor, and the engine reads the camera from the source scene; this keeps F12 in the splat scene the same.
RENDER_SETTINGS = (
    "resolution_x",
    "resolution_y",
    "resolution_percentage",
    "pixel_aspect_x",
    "pixel_aspect_y",
    "fps",
    "fps_base",
    "use_border",
    "border_min_x",
    "border_min_y",
    "border_max_x",
    "border_max_y",
)


def splat_scene_of(scene: bpy.types.Scene) -> bpy.types.Scene | None:
    """The splat scene that is composited into ``scene``, if there is one."""
    return next((other for other in bpy.data.scenes if other.exgs.source_scene == scene), None)


def splat_objects_of(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """Splat objects of a scene, and collection instances that contain one, but for those in collections that do not render."""
    objects = dict.fromkeys(_rendered_objects(scene.view_layers[0].layer_collection))
    return [obj for obj in objects if is_splat_object(obj) or _instances_splats(obj)]


def make_or_update(scene: bpy.types.Scene) -> bpy.types.Scene:
    """The splat scene of ``scene``, with its present cameras, splat objects and settings; the objects leave the CG picture."""
    splats = splat_scene_of(scene)
    if splats is None:
        splats = bpy.data.scenes.new(f"{scene.name} splats")
        splats.exgs.source_scene = scene
    splats.render.engine = ExgsRenderEngine.bl_idname
    splats.render.film_transparent = True
    splats.view_layers[0].use_pass_z = True
    for name in RENDER_SETTINGS:
        setattr(splats.render, name, getattr(scene.render, name))
    copy_view(scene, splats)
    splats.frame_start, splats.frame_end, splats.frame_step = scene.frame_start, scene.frame_end, scene.frame_step
    splats.camera = scene.camera
    shown = splat_objects_of(scene)
    _link_exactly(splats, [*shown, *(obj for obj in scene.objects if obj.type == "CAMERA")])
    _hide_from_rays(splats, [obj for placed in shown for obj in _with_contents(placed)])
    return splats


def remove(splats: bpy.types.Scene) -> None:
    """Delete a splat scene and show its objects to the CG renderer again."""
    for entry in splats.exgs.hidden:
        if entry.object is not None:
            _set_ray_flags(entry.object, entry.visible)
    bpy.data.scenes.remove(splats)


def _rendered_objects(layer: bpy.types.LayerCollection) -> Iterator[bpy.types.Object]:
    """The objects below a collection of a view layer, without those that its collections exclude or disable in renders."""
    if layer.collection.hide_render:
        return
    if not layer.exclude:
        yield from layer.collection.objects
    for child in layer.children:
        yield from _rendered_objects(child)


def _instances_splats(obj: bpy.types.Object) -> bool:
    collection = obj.instance_collection if obj.instance_type == "COLLECTION" else None
    return collection is not None and any(is_splat_object(inner) or _instances_splats(inner) for inner in collection.all_objects)


def _with_contents(obj: bpy.types.Object) -> list[bpy.types.Object]:
    """The splat objects that an object is or instances."""
    if is_splat_object(obj):
        return [obj]
    return [found for inner in obj.instance_collection.all_objects if inner.type != "CAMERA" for found in _contents_if_any(inner)]


def _contents_if_any(obj: bpy.types.Object) -> list[bpy.types.Object]:
    return _with_contents(obj) if is_splat_object(obj) or _instances_splats(obj) else []


def _link_exactly(splats: bpy.types.Scene, objects: list[bpy.types.Object]) -> None:
    linked = splats.collection.objects
    for obj in [obj for obj in linked if obj not in objects]:
        linked.unlink(obj)
    for obj in objects:
        if obj.name not in linked:
            linked.link(obj)


def _hide_from_rays(splats: bpy.types.Scene, objects: list[bpy.types.Object]) -> None:
    """Make objects invisible to Cycles and EEVEE, which would draw points; the viewport still shows them.

    How they were is remembered for :func:`remove`. Objects that are no longer splats of the scene become visible again.
    """
    hidden = splats.exgs.hidden
    for index in reversed(range(len(hidden))):
        if hidden[index].object not in objects:
            if hidden[index].object is not None:
                _set_ray_flags(hidden[index].object, hidden[index].visible)
            hidden.remove(index)
    known = {entry.object for entry in hidden}
    for obj in objects:
        if obj not in known:
            entry = hidden.add()
            entry.object = obj
            entry.visible = [getattr(obj, f"visible_{flag}") for flag in RAY_FLAGS]
        _set_ray_flags(obj, [False] * len(RAY_FLAGS))


def _set_ray_flags(obj: bpy.types.Object, visible: list[bool]) -> None:
    for flag, value in zip(RAY_FLAGS, visible, strict=True):
        setattr(obj, f"visible_{flag}", value)
