# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera files in and out: captures' photos as Blender cameras, and the scene's shot for the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper  # type: ignore[import-not-found]
from mathutils import Matrix

from ..cameras import Cameras, read_cameras, write_cameras, write_colmap, write_transforms
from ..errors import ExgsError
from .axes import READ, WORLD_FROM_CAPTURE, WRITTEN, up_axis_of_file
from .camera_animation import shot_cameras, shot_frames, uneven
from .camera_objects import animated_camera, camera_set, match_resolution
from .reported import reported
from .splat_object import is_splat_object


class ImportCameras(bpy.types.Operator, ImportHelper):
    """Load a capture's camera file (cameras.json, transforms.json, COLMAP): as one camera that moves from photo to photo, or one for each.
    With a capture selected the cameras stand where its photos were taken"""

    bl_idname = "exgs.import_cameras"
    bl_label = "Import Capture Cameras"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(default="*.json;*.txt;*.bin", options={"HIDDEN"}, description="Which files the file browser shows")
    kind: EnumProperty(
        name="Make",
        items=[
            ("ANIMATION", "Animated Camera", "One camera that is at the next view in each frame: render it to get the photos' pictures"),
            ("SET", "Camera Set", "One camera for each view, in a collection"),
        ],
        description="What the views become",
    )
    up: up_axis_of_file(READ, "Which axis of the capture points up. Not used where a capture is selected: the cameras then follow it")
    resolution: BoolProperty(
        name="Set Resolution",
        default=True,
        description="Render as large as the first view's image, so that the picture has the photo's frame; off keeps the scene's size, "
        "which may show more or less at the sides",
    )

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(bpy.path.abspath(self.filepath))
        views, place = read_cameras(path), self._place(context)
        name = f"Cameras {path.stem if path.is_file() else path.name}"
        if self.kind == "ANIMATION":
            made = [animated_camera(context, name, views, place, context.scene.frame_start)]
        else:
            made = camera_set(context, name, views, place)
        context.scene.camera = made[0]
        if self.resolution:
            match_resolution(context.scene, views)
        self.report({"INFO"}, f"{len(views)} views from {path.name}")
        return {"FINISHED"}

    def _place(self, context: bpy.types.Context) -> Matrix:
        """World from the file's axes: those of the selected capture."""
        obj = context.object
        if not is_splat_object(obj) or not obj.select_get():
            return WORLD_FROM_CAPTURE[self.up]
        if uneven(obj.matrix_world):
            raise ExgsError(f"'{obj.name}' is scaled unevenly or sheared, which no camera can follow; apply its scale, or deselect it")
        return obj.matrix_world


class ExportCameras(bpy.types.Operator, ExportHelper):
    """Write the scene's camera, frame by frame, for 'exgs render', 'exgs compress --shot' and other programs.
    With a capture selected it is written in the capture's own coordinates"""

    bl_idname = "exgs.export_cameras"
    bl_label = "Export Shot"
    bl_options = {"REGISTER"}

    filename_ext = ".json"
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"}, description="Which files the file browser shows")
    file_format: EnumProperty(
        name="Format",
        items=[
            ("EXGS", "ExGS Shot", "Our own camera file, for the command line: exact, with frame numbers and clip distance"),
            ("TRANSFORMS", "transforms.json", "nerfstudio's file, for other programs"),
            ("COLMAP", "COLMAP Text", "A folder with cameras.txt, images.txt and an empty points3D.txt, named as the file"),
        ],
        description="What kind of file to write",
    )
    up: up_axis_of_file(
        WRITTEN, "Which axis points up in the file. Not used where a capture is selected: the file then has its coordinates"
    )

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        views = self._views(context)
        target = write_shot(Path(bpy.path.abspath(self.filepath)), views, self.file_format)
        self.report({"INFO"}, f"{len(views)} frames written to {target}")
        return {"FINISHED"}

    def _views(self, context: bpy.types.Context) -> Cameras:
        obj = context.object
        capture = obj if is_splat_object(obj) and obj.select_get() else None
        return shot_cameras(context, shot_frames(context.scene), relative_to=capture or WORLD_FROM_CAPTURE[self.up])


def write_shot(path: Path, views: Cameras, file_format: str) -> Path:
    """Write views in one of the operator's formats; returns the file or folder."""
    if file_format == "COLMAP":
        folder = path.with_suffix("")
        write_colmap(folder, views)
        return folder
    (write_transforms if file_format == "TRANSFORMS" else write_cameras)(path, views)
    return path


def _import_entry(menu: Any, context: bpy.types.Context) -> None:
    menu.layout.operator(ImportCameras.bl_idname, text="Capture Cameras (cameras.json, transforms.json, COLMAP)")


def _export_entry(menu: Any, context: bpy.types.Context) -> None:
    menu.layout.operator(ExportCameras.bl_idname, text="Shot for ExGS (.json)")


CLASSES = (ImportCameras, ExportCameras)


def register() -> None:
    bpy.types.TOPBAR_MT_file_import.append(_import_entry)
    bpy.types.TOPBAR_MT_file_export.append(_export_entry)


def unregister() -> None:
    bpy.types.TOPBAR_MT_file_import.remove(_import_entry)
    bpy.types.TOPBAR_MT_file_export.remove(_export_entry)
