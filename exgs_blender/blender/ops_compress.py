# SPDX-License-Identifier: GPL-3.0-or-later
"""Compress a splat object in the background; the result takes its place."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from .. import formats
from ..cameras import write_cameras
from ..errors import ExgsError
from ..worker.protocol import BESIDE
from .camera_animation import shot_cameras, shot_frames
from .job_runner import RUNNER
from .ops_import import place, read_capture
from .splat_object import gaussians_of, is_splat_object

SUFFIX = ".exgs"


class Compress(bpy.types.Operator):
    """Make a file of the active splat object that is many times smaller, in the background"""

    bl_idname = "exgs.compress"
    bl_label = "Compress Splats"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", description="The .exgs file to write; empty puts it beside the source file")
    filter_glob: StringProperty(default=f"*{SUFFIX}", options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    ratio: FloatProperty(name="Ratio", default=100.0, min=2.0, description="How many times smaller the file becomes")
    views: EnumProperty(
        name="Views",
        items=[
            ("EVERYWHERE", "Everywhere", "Keep what matters from all around the capture"),
            ("SHOT", "This Shot", "Keep what this scene's camera sees over the frame range"),
        ],
        description="From where the compressed capture has to look good",
    )
    replace_original: BoolProperty(
        name="Show Result", default=True, description="Import the result in the original's place when it is ready, and hide the original"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return is_splat_object(context.object)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        settings = context.scene.exgs
        self.ratio, self.views, self.replace_original = settings.ratio, settings.views, settings.replace_original
        self.filepath = str(default_target(context.object))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        target = Path(bpy.path.abspath(self.filepath)) if self.filepath else default_target(context.object)
        try:
            start_compression(context, context.object, target.with_suffix(SUFFIX), self.ratio, self.views == "SHOT", self.replace_original)
        except ExgsError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"Compressing {context.object.name} in the background")
        return {"FINISHED"}


def default_target(obj: bpy.types.Object) -> Path:
    """Beside the capture's own file, else beside the .blend, else in the home folder; never over the source."""
    name = re.sub(r"[^\w\-. ]", "_", obj.name)
    source = Path(bpy.path.abspath(obj.exgs.source_path)) if obj.exgs.source_path else None
    if source is not None and source.parent.is_dir():
        folder = source.parent.parent if source.suffix == ".json" else source.parent
    else:
        folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
    target = folder / f"{name}{SUFFIX}"
    return target.with_stem(f"{name}-compressed") if target == source else target


def start_compression(
    context: bpy.types.Context, obj: bpy.types.Object, target: Path, ratio: float, this_shot: bool, replace_original: bool
) -> None:
    """Hand the object's splats, as edited, to a background job.

    Raises:
        ExgsError: nothing to compress, no usable camera, or no worker; one line.
    """
    gaussians = gaussians_of(obj, context.evaluated_depsgraph_get())
    folder = Path(tempfile.mkdtemp(prefix="exgs-", dir=bpy.app.tempdir or None))
    try:
        source = folder / f"{target.stem}.ply"  # the report and the asset tell this name
        params: dict[str, Any] = {"source": str(source), "target": str(target), "ratio": ratio, "page": BESIDE}
        formats.write(params["source"], gaussians)
        if this_shot:
            params["cameras"] = str(folder / "cameras.json")
            params["hold_out"] = False  # every frame of the shot must look good
            write_cameras(params["cameras"], shot_cameras(context, shot_frames(context.scene), relative_to=obj))
    except ExgsError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    uid = obj.session_uid

    def on_done(result: dict[str, Any]) -> str:
        original = next((other for other in bpy.data.objects if other.session_uid == uid), None)
        if original is not None:
            told = [original, _show_result(bpy.context, original, target)] if replace_original else [original]
            for item in told:
                item.exgs.headline, item.exgs.report_path = result["headline"], result["report"]
        return f"{target.name}: {result['headline']}"

    RUNNER.start(f"Compress {obj.name}", "compress", params, on_done, tidy=lambda: shutil.rmtree(folder, ignore_errors=True))


def _show_result(context: bpy.types.Context, original: bpy.types.Object, target: Path) -> bpy.types.Object:
    """Import the compressed file where the original is, and hide the original; returns the new object."""
    gaussians, keep_ratio = read_capture(target)
    # What was compressed may have been compressed before.
    result = place(context, target, gaussians, keep_ratio * original.exgs.keep_ratio, original.matrix_world)
    result.name = f"{original.name} ExGS"
    for collection in list(result.users_collection):
        collection.objects.unlink(result)
    for collection in original.users_collection:
        collection.objects.link(result)
    original.hide_render = True
    original.hide_viewport = True
    return result


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

    index: IntProperty(default=0, min=0, options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        if self.index >= len(RUNNER.running):
            return {"CANCELLED"}
        RUNNER.running[self.index].cancel()
        return {"FINISHED"}


CLASSES = (Compress, OpenReport, CancelJob)
