# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar's Compress panel, and how running jobs are shown there and in the status bar."""

from __future__ import annotations

from typing import Any

import bpy

from ..worker.estimate import duration
from .before_after import twin_to_show
from .compress_job import Request, estimate_for
from .job_runner import RUNNER, Task
from .ops_compress import BeforeAfter, CancelJob, Compress, OpenReport
from .splat_object import is_splat_object
from .wrapping import wrapped_label

ICONS = {"done": "CHECKMARK", "failed": "ERROR", "cancelled": "X"}
VALUE_OF_GOAL = {"RATIO": "ratio", "SIZE": "size_mb", "QUALITY": "psnr"}
STATUS_WIDTH = 12


class CompressPanel(bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "ExGS"
    bl_idname = "EXGS_PT_compress"
    bl_label = "Compress"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout, options, obj = self.layout, context.scene.exgs.compress, context.object
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(options, "goal")
        if options.goal in VALUE_OF_GOAL:
            layout.prop(options, VALUE_OF_GOAL[options.goal])
        layout.prop(options, "views")
        if options.views == "FILE":
            layout.prop(options, "cameras_file")
        if options.views != "EVERYWHERE":
            layout.prop(options, "everywhere")
        layout.prop(options, "replace_original")
        if is_splat_object(obj):
            wrapped_label(layout, expectation(context, obj), icon="TIME")
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator(Compress.bl_idname, text="Compress", icon="MOD_DECIM")
        if obj is not None and (twin := twin_to_show(obj)):
            layout.operator(BeforeAfter.bl_idname, text=f"Show {'After' if twin.exgs.compressed else 'Before'}", icon="ARROW_LEFTRIGHT")
        draw_jobs(layout)


def expectation(context: bpy.types.Context, obj: bpy.types.Object) -> str:
    """What a compression of this object would take, in a line."""
    expected = estimate_for(context, obj, Request.of(context.scene.exgs.compress))
    size = f", {expected.bytes / 1e6:.2g} MB" if expected.bytes else ""
    return f"About {duration(expected.seconds)}{size}"


def draw_jobs(layout: Any) -> None:
    """The jobs that run or wait, each with its way out, and how the last ones ended."""
    for index, task in enumerate(RUNNER.running):
        column = layout.column(align=True)
        wrapped_label(column, task.title)
        row = column.row()
        row.progress(factor=task.fraction, text=task.words)  # a bar's text is cut off where it is longer than the bar
        row.operator(CancelJob.bl_idname, text="", icon="X").index = index
    for task in RUNNER.ended:
        told = task.message.partition("; ")[0] if task.state == "done" else task.message  # the object's box has the rest
        wrapped_label(layout, told or task.title, icon=ICONS[task.state])


def line_of(task: Task) -> str:
    """A job in a line: title, stage, time left."""
    return f"{task.title}: {task.words}"


def draw_headline(layout: Any, obj: bpy.types.Object) -> None:
    """What the compression of this object came to, in pieces, and the way to its report."""
    box = layout.box().column(align=True)
    for piece in headline_pieces(obj.exgs.headline):
        wrapped_label(box, piece)
    box.operator(OpenReport.bl_idname, icon="URL")


def headline_pieces(headline: str) -> list[str]:
    """Sizes, words and numbers on lines of their own, which are seldom longer than a sidebar is wide."""
    pieces = []
    for sentence in headline.split("; "):
        words, _, numbers = sentence.partition(": ")
        pieces += [words[:1].upper() + words[1:], numbers]
    return [piece for piece in pieces if piece]


def _status_bar(header: Any, context: bpy.types.Context) -> None:
    """The job that runs, at the right of the status bar; a click on the cross stops it."""
    if not RUNNER.running:
        return
    running = next((i for i, task in enumerate(RUNNER.running) if task.state == "running"), 0)
    task = RUNNER.running[running]
    row = header.layout.row(align=True)
    bar = row.row()
    bar.ui_units_x = STATUS_WIDTH
    bar.progress(factor=task.fraction, text=line_of(task))
    row.operator(CancelJob.bl_idname, text="", icon="X", emboss=False).index = running


CLASSES = (CompressPanel,)


def register() -> None:
    bpy.types.STATUSBAR_HT_header.append(_status_bar)


def unregister() -> None:
    bpy.types.STATUSBAR_HT_header.remove(_status_bar)
