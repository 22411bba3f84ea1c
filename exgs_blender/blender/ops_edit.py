# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply and Join that store turned splats; after Blender's own, which move points alone, splats are turned whenever they are read."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from ..errors import ExgsError
from ..splats.transforms import transformed
from ..ugc.guidance import together
from .reported import reported
from .splat_object import at_rest, gaussians_from_attributes, is_splat_object, note_rest, read_attributes, write_attributes


class ApplyTransform(bpy.types.Operator):
    """Reset location, rotation and scale of the selected splat objects; stores the splats turned, for other tools. The picture stays"""

    bl_idname = "exgs.apply_transform"
    bl_label = "Apply Transform"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.mode == "OBJECT" and any(map(is_splat_object, context.selected_objects))

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        apply_transforms(list(filter(is_splat_object, context.selected_objects)))
        return {"FINISHED"}


class Join(bpy.types.Operator):
    """Join the selected splat objects into the active one without changing the picture, however they are turned and scaled"""

    bl_idname = "exgs.join"
    bl_label = "Join"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        active, chosen = context.active_object, context.selected_objects
        return context.mode == "OBJECT" and active in chosen and len(chosen) > 1 and all(map(is_splat_object, chosen))

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        join(context, context.active_object, list(context.selected_objects))
        return {"FINISHED"}


def apply_transforms(objects: list[bpy.types.Object]) -> None:
    """Bring objects to the identity transform; see :func:`bake`."""
    for obj in objects:
        bake(obj, Matrix.Identity(4))


def bake(obj: bpy.types.Object, world_from_object: Matrix) -> None:
    """Give an object another transform and its splats the opposite one: what is seen stays. Modifiers act on the new splats.

    What Blender's tools did to the points before is written down with it.

    Raises:
        ExgsError: the object has no volume (a scale of 0), or its attributes are no splats.
    """
    new_from_old = np.array(world_from_object.inverted() @ obj.matrix_world, np.float64)
    if not np.allclose(new_from_old, np.eye(4), atol=1e-7) or not at_rest(obj.data):
        moved = transformed(gaussians_from_attributes(read_attributes(obj.data)), new_from_old)
        if obj.data.users > 1:
            obj.data = obj.data.copy()
        write_attributes(obj.data, moved)
        obj.data.update_tag()
    obj.matrix_world = world_from_object


def join(context: bpy.types.Context, active: bpy.types.Object, objects: list[bpy.types.Object]) -> None:
    """Join splat objects into the active one: each takes its transform first, so that Blender's own join has nothing to turn.

    Raises:
        ExgsError: see :func:`bake`; or Blender will not join them.
    """
    if len({obj.type for obj in objects}) > 1:
        raise ExgsError("point clouds and meshes do not join; convert the meshes with Object > Convert > Point Cloud")
    kept, guidance = _kept(objects), together(obj.exgs.guidance for obj in objects)
    for obj in objects:
        note_rest(obj.data)  # or joining would fill in zeros for some of the points
        if obj != active:
            bake(obj, active.matrix_world.copy())
    context.view_layer.update()
    try:
        done = bpy.ops.object.join()
    except RuntimeError as error:
        raise ExgsError(str(error).strip()) from error
    if "FINISHED" not in done:
        raise ExgsError("Blender did not join the objects")
    active.exgs.keep_ratio, active.exgs.guidance = kept, guidance


def _kept(objects: list[bpy.types.Object]) -> float:
    """Share of all originals' splats that are left."""
    counts = [len(obj.data.attributes["position"].data) for obj in objects]
    originals = sum(count / max(obj.exgs.keep_ratio, 1e-6) for count, obj in zip(counts, objects, strict=True))
    return sum(counts) / originals if originals else 1.0


class EditPanel(bpy.types.Panel):
    bl_idname = "EXGS_PT_edit"
    bl_label = "Edit"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "ExGS"
    bl_parent_id = "EXGS_PT_capture"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return is_splat_object(context.object)

    def draw(self, context: bpy.types.Context) -> None:
        row = self.layout.row(align=True)
        row.operator(ApplyTransform.bl_idname, icon="OBJECT_ORIGIN")
        row.operator(Join.bl_idname, icon="SELECT_EXTEND")


CLASSES = (ApplyTransform, Join, EditPanel)
