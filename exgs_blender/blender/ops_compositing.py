# SPDX-License-Identifier: GPL-3.0-or-later
"""Set up, update and remove the compositing of splats over the scene's own render."""

from __future__ import annotations

import bpy

from . import compositor, splat_scene
from .colour_management import colour_warning
from .proxy_object import catches_shadows


def composite(scene: bpy.types.Scene) -> None:
    """Make or bring up to date what merges a scene's splats with its picture."""
    compositor.connect(scene, splat_scene.make_or_update(scene), scene.exgs.blending, catches_shadows(scene))


class SetUpCompositing(bpy.types.Operator):
    """Render the splats in a scene of their own and merge them by depth into this scene's picture.
    Your compositing nodes stay as they are. Run again after adding splats or cameras"""

    bl_idname = "exgs.setup_compositing"
    bl_label = "Set Up Compositing"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = context.scene.exgs.source_scene or context.scene
        if not splat_scene.splat_objects_of(scene):
            self.report({"ERROR"}, f"scene '{scene.name}' has no splat object; import a capture first")
            return {"CANCELLED"}
        if scene.render.engine == "EXGS":
            self.report({"ERROR"}, "this scene renders with ExGS already; choose Cycles or EEVEE for the CG first")
            return {"CANCELLED"}
        composite(scene)
        if warning := colour_warning(scene):
            self.report({"WARNING"}, f"{warning}; 'Use Standard' in the Render panel keeps them")
        return {"FINISHED"}


class RemoveCompositing(bpy.types.Operator):
    """Take the splats out of this scene's compositing again and delete their scene"""

    bl_idname = "exgs.remove_compositing"
    bl_label = "Remove Compositing"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return splat_scene.splat_scene_of(context.scene.exgs.source_scene or context.scene) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = context.scene.exgs.source_scene or context.scene
        compositor.disconnect(scene)
        splat_scene.remove(splat_scene.splat_scene_of(scene))
        return {"FINISHED"}


CLASSES = (SetUpCompositing, RemoveCompositing)
