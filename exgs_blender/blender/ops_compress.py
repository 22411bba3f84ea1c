# SPDX-License-Identifier: GPL-3.0-or-later
"""Compress splat objects in the background; compare, look at the report, stop."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from .before_after import show_instead, twin_to_show, twins_of
from .compress_job import SUFFIX, Request, default_target, start_compression
from .compress_settings import OPTIONS, CompressOptions, set_the_goal_that_was_given
from .job_runner import RUNNER
from .reported import reported
from .splat_object import is_splat_object


class Compress(CompressOptions, bpy.types.Operator):
    """Make a file of the active splat object that is many times smaller, in the background. Several compressions wait in a queue"""

    bl_idname = "exgs.compress"
    bl_label = "Compress Splats"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", description="The .exgs file to write; empty puts it beside the source file")
    filter_glob: StringProperty(default=f"*{SUFFIX}", options={"HIDDEN"}, description="Which files the file browser shows")
    check_existing: BoolProperty(default=True, options={"HIDDEN"}, description="Warn before an existing file is overwritten")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return is_splat_object(context.object)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        for name in OPTIONS:
            setattr(self, name, getattr(context.scene.exgs.compress, name))
        self.filepath = str(default_target(context.object))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        set_the_goal_that_was_given(self)
        target = Path(bpy.path.abspath(self.filepath)) if self.filepath else default_target(context.object)
        task = start_compression(context, context.object, target.with_suffix(SUFFIX), Request.of(self))
        what = "waits for the compression before it" if task.state == "waiting" else "runs in the background"
        self.report({"INFO"}, f"{task.title}: {what}")
        return {"FINISHED"}


class BeforeAfter(bpy.types.Operator):
    """Show the capture as it was before compression, or the compressed one again, at the same place"""

    bl_idname = "exgs.before_after"
    bl_label = "Before / After"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.object is not None and twin_to_show(context.object) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        obj = context.object
        twin = twin_to_show(obj)
        if twin is None:
            return {"CANCELLED"}
        show_instead(twin, [obj, *twins_of(obj)])
        if twin.name in context.view_layer.objects:
            obj.select_set(False)
            context.view_layer.objects.active = twin
            twin.select_set(True)
        return {"FINISHED"}


class OpenReport(bpy.types.Operator):
    """Open the page of the quality report: measurements, and pictures of the capture beside the compressed one"""

    bl_idname = "exgs.open_report"
    bl_label = "Open Quality Report"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.object is not None and bool(context.object.exgs.report_path)

    def execute(self, context: bpy.types.Context) -> set[str]:
        page = Path(bpy.path.abspath(context.object.exgs.report_path))
        if not page.is_file():
            self.report({"ERROR"}, f"{page}: the report is no longer there; compress again, or run 'exgs eval --html'")
            return {"CANCELLED"}
        bpy.ops.wm.url_open(url=page.absolute().as_uri())
        return {"FINISHED"}


class CancelJob(bpy.types.Operator):
    """Stop this background job; nothing is written"""

    bl_idname = "exgs.cancel_job"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    index: IntProperty(default=0, min=0, options={"HIDDEN"}, description="Which of the jobs, counted from the top of the list")

    def execute(self, context: bpy.types.Context) -> set[str]:
        if self.index >= len(RUNNER.running):
            return {"CANCELLED"}
        RUNNER.running[self.index].cancel()
        return {"FINISHED"}


CLASSES = (Compress, BeforeAfter, OpenReport, CancelJob)
