# SPDX-License-Identifier: GPL-3.0-or-later
"""One tab in the 3D view's sidebar, and a panel in the render properties."""

from __future__ import annotations

from typing import Any

import bpy

from .engine import ExgsRenderEngine
from .job_runner import RUNNER
from .ops_compositing import RemoveCompositing, SetUpCompositing
from .ops_compress import CancelJob, Compress, OpenReport
from .ops_import import ImportSplats
from .splat_object import is_splat_object
from .splat_scene import splat_scene_of

ICONS = {"done": "CHECKMARK", "failed": "ERROR", "cancelled": "X"}


def draw_render_settings(layout: Any, scene: bpy.types.Scene) -> None:
    """The settings of the ExGS engine; a splat scene shows those of the scene that it belongs to."""
    settings = (scene.exgs.source_scene or scene).exgs
    layout.use_property_split = True
    layout.use_property_decorate = False
    layout.prop(settings, "restore")
    strength = layout.column()
    strength.enabled = settings.restore
    strength.prop(settings, "restore_strength")
    layout.prop(settings, "rasterize_mode")


def draw_headline(layout: Any, obj: bpy.types.Object) -> None:
    """What the compression of this object came to, in pieces that fit the sidebar, and the way to its report."""
    box = layout.box().column(align=True)
    for piece in headline_pieces(obj.exgs.headline):
        box.label(text=piece)
    box.operator(OpenReport.bl_idname, icon="URL")


def headline_pieces(headline: str) -> list[str]:
    """Sizes, words and numbers on lines of their own: a sidebar cuts long lines off."""
    pieces = []
    for sentence in headline.split("; "):
        words, _, numbers = sentence.partition(": ")
        pieces += [words[:1].upper() + words[1:], numbers]
    return [piece for piece in pieces if piece]


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


class CompressPanel(_Sidebar, bpy.types.Panel):
    bl_idname = "EXGS_PT_compress"
    bl_label = "Compress"

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.exgs
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings, "ratio")
        layout.prop(settings, "views")
        layout.prop(settings, "replace_original")
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator(Compress.bl_idname, text="Compress", icon="MOD_DECIM")
        for index, task in enumerate(RUNNER.running):
            row = layout.row()
            row.progress(factor=task.fraction, text=f"{task.title}: {task.stage}")
            row.operator(CancelJob.bl_idname, text="", icon="X").index = index
        for task in RUNNER.ended:
            told = task.message.partition("; ")[0] if task.state == "done" else task.message  # the object's box has the rest
            layout.label(text=told or task.title, icon=ICONS[task.state])


class RenderPanel(_Sidebar, bpy.types.Panel):
    bl_idname = "EXGS_PT_render"
    bl_label = "Render"

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, context.scene
        draw_render_settings(layout, scene)
        splats = splat_scene_of(scene)
        layout.operator(SetUpCompositing.bl_idname, text="Update Compositing" if splats else "Set Up Compositing", icon="NODE_COMPOSITING")
        if splats:
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


CLASSES = (CapturePanel, CompressPanel, RenderPanel, RenderPropertiesPanel)
