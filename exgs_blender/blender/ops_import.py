# SPDX-License-Identifier: GPL-3.0-or-later
"""File > Import > 3D Gaussian Splats, and files dropped into the 3D view or the outliner."""

from __future__ import annotations

import shutil
from pathlib import Path

import bpy
import numpy as np
from bpy.props import BoolProperty, CollectionProperty, FloatProperty, StringProperty
from bpy_extras.io_utils import ImportHelper  # type: ignore[import-not-found]
from mathutils import Matrix

from .. import formats
from ..errors import ExgsError, MissingDependencyError
from ..splats import Gaussians
from ..splats.activation import logit_from_opacity
from .axes import READ, WORLD_FROM_CAPTURE, up_axis_of_file
from .job_runner import RUNNER, Task, job_folder
from .splat_object import create_splat_object

OPAQUE = 0.5
"""Opacity from which on a splat is opaque."""


class ImportSplats(bpy.types.Operator, ImportHelper):
    """Load 3D Gaussian Splatting captures as point objects"""

    bl_idname = "exgs.import_splats"
    bl_label = "Import 3D Gaussian Splats"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(
        default=";".join(f"*{suffix}" for suffix in formats.readable_suffixes()),
        options={"HIDDEN"},
        description="Which files the file browser shows",
    )
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"}, description="The chosen files")
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"}, description="Where the chosen files are")
    up: up_axis_of_file(READ, "Which axis of the capture points up. Only the object is turned; the splats keep their own coordinates")

    scale: FloatProperty(
        name="Scale",
        default=1.0,
        min=1e-4,
        soft_min=0.01,
        soft_max=100.0,
        description="Size of the object. Captures have no unit of their own, so most need one that fits the scene",
    )
    opaque_only: BoolProperty(
        name="Opaque Only",
        default=False,
        description="Leave out splats that are less than half opaque: removes haze and floating specks, and thins hair, glass and foliage",
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """The file browser; for files that were dropped, which are known already, a dialog with the options."""
        if self.files or self.filepath:
            return context.window_manager.invoke_props_dialog(self)
        return super().invoke(context, event)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        for name in ("up", "scale", "opaque_only"):
            layout.prop(self, name)

    def execute(self, context: bpy.types.Context) -> set[str]:
        paths = [Path(self.directory) / item.name for item in self.files if item.name] or [Path(self.filepath)]
        matrix = Matrix.Scale(self.scale, 4) @ WORLD_FROM_CAPTURE[self.up]
        imported = False
        for path in paths:
            try:
                imported |= import_file(context, path, matrix, opaque_only=self.opaque_only) is not None
            except ExgsError as error:
                self.report({"ERROR"}, str(error))
        return {"FINISHED"} if imported else {"CANCELLED"}


class DropSplats(bpy.types.FileHandler):
    """Files that may be dropped into Blender. Where Blender reads a suffix too (.ply, .usd), it asks who shall."""

    bl_idname = "EXGS_FH_splats"
    bl_label = "3D Gaussian Splats"
    bl_import_operator = ImportSplats.bl_idname
    bl_file_extensions = ";".join(sorted({Path(f"x{suffix}").suffix for suffix in formats.readable_suffixes()}))

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type in ("VIEW_3D", "OUTLINER")


def import_file(context: bpy.types.Context, path: Path, matrix: Matrix, *, opaque_only: bool = False) -> bpy.types.Object | Task:
    """Import one file: the new object, or the task that converts it first where this Python cannot read it itself.

    Raises:
        ExgsError: the file cannot be read, or nothing in it is opaque; one line.
    """
    try:
        gaussians, keep_ratio, guidance = read_capture(path)
    except MissingDependencyError:
        task = _convert_then_import(path, matrix, opaque_only)
    else:
        return place(context, path, _chosen(path, gaussians, opaque_only), matrix, keep_ratio, guidance)
    if bpy.app.background:
        RUNNER.wait(task)
        if task.state != "done":
            raise ExgsError(task.message)
    return task


def _chosen(path: Path, gaussians: Gaussians, opaque_only: bool) -> Gaussians:
    if not opaque_only or len(gaussians) == 0:
        return gaussians
    kept = gaussians.select(gaussians.opacities >= logit_from_opacity(np.array(OPAQUE, np.float32)))
    if len(kept) == 0:
        raise ExgsError(f"{path}: none of its {len(gaussians):,} splats is more than half opaque; import it without Opaque Only")
    return kept


def read_capture(path: Path) -> tuple[Gaussians, float, str]:
    """A file's Gaussians, the share that they are of the original capture (1 where the file does not say), and guidance."""
    if formats.format_of(path).name != "exgs":
        return formats.read(path), 1.0, ""
    from ..formats.exgs import read_asset

    asset = read_asset(path)
    return asset.gaussians, asset.keep_ratio, asset.guidance


def place(
    context: bpy.types.Context, path: Path, gaussians: Gaussians, matrix: Matrix, keep_ratio: float = 1.0, guidance: str = ""
) -> bpy.types.Object:
    """Make the selected, active object of a cloud that was read from ``path``; the rest as :func:`read_capture` returns it."""
    if len(gaussians) == 0:
        raise ExgsError(f"{path}: holds no Gaussians")
    obj = create_splat_object(context, _title(path), gaussians)
    obj.matrix_world = matrix
    obj.exgs.source_path = str(path)
    obj.exgs.keep_ratio, obj.exgs.guidance = keep_ratio, guidance
    for other in context.selected_objects:
        other.select_set(False)
    if obj.name in context.view_layer.objects:
        context.view_layer.objects.active = obj
        obj.select_set(True)
    return obj


def _title(path: Path) -> str:
    """What to call a capture: its file's name without the suffix, or its folder's."""
    if path.name in ("meta.json", "lod-meta.json"):
        return path.parent.name or "Splats"
    return path.stem.removesuffix(".compressed") or "Splats"


def _convert_then_import(path: Path, matrix: Matrix, opaque_only: bool) -> Task:
    """Let the worker, which has every codec, make a PLY of it."""
    folder = job_folder()
    target = folder / "converted.ply"

    def on_done(_: dict[str, object]) -> str:
        gaussians = _chosen(path, formats.read(target), opaque_only)
        place(bpy.context, path, gaussians, matrix)
        return f"{len(gaussians):,} splats"

    return RUNNER.start(
        f"Import {path.name}",
        "convert",
        {"source": str(path), "target": str(target)},
        on_done,
        tidy=lambda: shutil.rmtree(folder, ignore_errors=True),
    )


CLASSES = (ImportSplats, DropSplats)
