# SPDX-License-Identifier: GPL-3.0-or-later
"""A capture and its compressed twins: one of them is shown, at the same place.

Twins share a text, not pointers: a pointer would keep a deleted original, with all its splats, in the file for ever.
"""

from __future__ import annotations

import uuid

import bpy

from . import splat_scene
from .splat_object import is_splat_object

SHOWN_FLAGS = ("hide_render", "hide_viewport")


def stand_in_for(result: bpy.types.Object, original: bpy.types.Object) -> None:
    """Put ``result`` where ``original`` is and keep it there: collections, parent, constraints and animation."""
    for collection in list(result.users_collection):
        collection.objects.unlink(result)
    for collection in original.users_collection:
        collection.objects.link(result)
    result.parent, result.parent_type, result.parent_bone = original.parent, original.parent_type, original.parent_bone
    result.matrix_parent_inverse = original.matrix_parent_inverse
    result.rotation_mode = original.rotation_mode
    for name in ("location", "rotation_euler", "rotation_quaternion", "rotation_axis_angle", "scale"):
        setattr(result, name, getattr(original, name))
        delta = f"delta_{name}"
        if hasattr(original, delta):
            setattr(result, delta, getattr(original, delta))
    for constraint in original.constraints:
        result.constraints.copy(constraint)
    animation = original.animation_data
    if animation is not None and animation.action is not None:
        own = result.animation_data_create()
        own.action = animation.action
        if hasattr(animation, "action_slot"):
            own.action_slot = animation.action_slot


def make_twins(original: bpy.types.Object, result: bpy.types.Object) -> None:
    """Remember that both show the same capture, and show the result."""
    if not original.exgs.pair:
        original.exgs.pair = uuid.uuid4().hex
    result.exgs.pair = original.exgs.pair
    result.exgs.compressed = True
    for scene in list(original.users_scene):
        if splat_scene.splat_scene_of(scene) is not None:
            splat_scene.make_or_update(scene)
    show_instead(result, [original, *twins_of(original)])


def twins_of(obj: bpy.types.Object) -> list[bpy.types.Object]:
    """The other objects of the file that show the same capture, the newest compression last."""
    if not obj.exgs.pair:
        return []
    return [other for other in bpy.data.objects if other != obj and other.exgs.pair == obj.exgs.pair and is_splat_object(other)]


def twin_to_show(obj: bpy.types.Object) -> bpy.types.Object | None:
    """What "before / after" shows instead of an object: for a result the original, for an original its result."""
    twins = twins_of(obj)
    other_kind = [twin for twin in twins if twin.exgs.compressed != obj.exgs.compressed]
    return next(iter(other_kind[-1:] or twins[-1:]), None)


def show_instead(shown: bpy.types.Object, others: list[bpy.types.Object]) -> None:
    """Show one object, in the viewport and in renders, and hide the others."""
    for obj in {shown, *others}:
        for flag in SHOWN_FLAGS:
            setattr(obj, flag, obj != shown)
