# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the drawing of splats is switched: the overlay popover of the 3D view, and a panel in our tab."""

from __future__ import annotations

from typing import Any

import bpy

from ..wrapping import wrapped_label
from .draw import VIEWPORT


def _draw_overlay(panel: Any, context: bpy.types.Context) -> None:
    row = panel.layout.row()
    row.prop(context.scene.exgs.viewport, "show", text="ExGS Splats")


class ViewportPanel(bpy.types.Panel):
    bl_idname = "EXGS_PT_viewport"
    bl_label = "Viewport"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "ExGS"
    bl_order = 10
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header(self, context: bpy.types.Context) -> None:
        self.layout.prop(context.scene.exgs.viewport, "show", text="")

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.exgs.viewport
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.active = settings.show
        layout.prop(settings, "budget")
        layout.prop(settings, "fewer_while_moving")
        layout.prop(settings, "sh_degree")
        if VIEWPORT.told:
            wrapped_label(layout, VIEWPORT.told)


CLASSES = (ViewportPanel,)


def register() -> None:
    bpy.types.VIEW3D_PT_overlay.append(_draw_overlay)


def unregister() -> None:
    bpy.types.VIEW3D_PT_overlay.remove(_draw_overlay)
