# SPDX-License-Identifier: GPL-3.0-or-later
"""View transforms: captures hold finished pictures' colours, which only "Standard" shows as they are."""

from __future__ import annotations

from typing import Any

import bpy

from .wrapping import wrapped_label

FAITHFUL = "Standard"
COPIED = ("view_transform", "look", "exposure", "gamma")


def colour_warning(scene: bpy.types.Scene) -> str:
    """What the scene's view transform does to captures; empty where it leaves them alone."""
    transform = scene.view_settings.view_transform
    return "" if transform == FAITHFUL else f"{transform} changes the colours of captures"


def copy_view(source: bpy.types.Scene, target: bpy.types.Scene) -> None:
    """Have one scene look as another does when it is rendered by itself."""
    for name in COPIED:
        setattr(target.view_settings, name, getattr(source.view_settings, name))


class UseStandardView(bpy.types.Operator):
    """Show this scene by the Standard view transform, so that captures keep their colours. Bright parts of the CG clip, which
    AgX and Filmic would roll off: relight it where that shows"""

    bl_idname = "exgs.use_standard_view"
    bl_label = "Use Standard"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        leader = context.scene.exgs.source_scene or context.scene
        for scene in bpy.data.scenes:
            if scene == leader or scene.exgs.source_scene == leader:
                scene.view_settings.view_transform = FAITHFUL
                scene.view_settings.look = "None"
        return {"FINISHED"}


def draw_colour_warning(layout: Any, scene: bpy.types.Scene) -> None:
    """The warning and its way out, where there is something to warn of."""
    if warning := colour_warning(scene):
        wrapped_label(layout, warning, icon="ERROR")
        layout.operator(UseStandardView.bl_idname)


CLASSES = (UseStandardView,)
