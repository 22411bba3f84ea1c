# SPDX-License-Identifier: GPL-3.0-or-later
"""One tab in the 3D view's sidebar, and a panel in the render properties."""

from __future__ import annotations

from typing import Any

import bpy

from .colour_management import draw_colour_warning
from .engine import ExgsRenderEngine
from .frame_rate import RATE
from .ops_compositing import RemoveCompositing, SetUpCompositing
from .ops_import import ImportSplats
from .ops_proxy import MakeProxy
from .panel_compress import draw_headline
from .splat_object import is_splat_object
from .splat_scene import splat_scene_of
from .wrapping import wrapped_label


def draw_render_settings(layout: Any, scene: bpy.types.Scene) -> None:
    """The settings of the ExGS engine; a splat scene shows those of the scene that it belongs to."""
    settings = (scene.exgs.source_scene or scene).exgs
    layout.use_property_split = True
    layout.use_property_decorate = False
    layout.prop(settings, "restore")
    strength = layout.column()
    strength.enabled = settings.restore
    strength.prop(settings, "restore_strength")
    strength.prop(settings, "stabilise")
    layout.prop(settings, "rasterize_mode")
    if RATE.words:
        wrapped_label(layout, f"Last render: {RATE.words}", icon="TIME")
    draw_colour_warning(layout, scene)


class _Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "ExGS"


class CapturePanel(_Sidebar, bpy.types.Panel):
    bl_idname = "EXGS_PT_capture"
    bl_label = "Capture"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator(ImportSplats.bl_idname, text="Import", icon="IMPORT")
        obj = context.object
        if not is_splat_object(obj):
            layout.label(text="Select a splat object", icon="INFO")
            return
        layout.label(text=f"{len(obj.data.attributes['position'].data):,} splats")
        layout.prop(obj.exgs, "keep_ratio")
        if obj.exgs.headline:
            draw_headline(layout, obj)


class RenderPanel(_Sidebar, bpy.types.Panel):
    bl_idname = "EXGS_PT_render"
    bl_label = "Render"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, context.scene
        draw_render_settings(layout, scene)
        splats = splat_scene_of(scene)
        layout.operator(SetUpCompositing.bl_idname, text="Update Compositing" if splats else "Set Up Compositing", icon="NODE_COMPOSITING")
        if splats or scene.exgs.source_scene:
            layout.prop((scene.exgs.source_scene or scene).exgs, "blending")
            layout.operator(MakeProxy.bl_idname, text="Catch Shadows", icon="MOD_SHRINKWRAP")
            layout.operator(RemoveCompositing.bl_idname, icon="TRASH")


class RenderPropertiesPanel(bpy.types.Panel):
    bl_idname = "EXGS_PT_render_properties"
    bl_label = "ExGS"
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "render"
    COMPAT_ENGINES = {ExgsRenderEngine.bl_idname}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.engine in cls.COMPAT_ENGINES

    def draw(self, context: bpy.types.Context) -> None:
        draw_render_settings(self.layout, context.scene)


CLASSES = (CapturePanel, RenderPanel, RenderPropertiesPanel)
