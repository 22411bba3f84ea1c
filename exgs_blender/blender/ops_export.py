# SPDX-License-Identifier: GPL-3.0-or-later
"""File > Export > 3D Gaussian Splats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, StringProperty

from .. import formats
from .axes import WRITTEN, up_axis_of_file
from .export_job import ExportOptions, export
from .reported import reported

BY_SUFFIX = "AUTO"


def _format_items() -> list[tuple[str, str, str]]:
    """Every writable suffix; one that is part of another ("meta.json") is a file's whole name."""
    found = [(BY_SUFFIX, "By Suffix", "Take the format that the file's name ends in")]
    for kind in formats.formats():
        if kind.write is not None:
            found += [(suffix, f"{kind.title} ({suffix})", f"Write {kind.title}") for suffix in kind.suffixes]
    return found


class ExportSplats(bpy.types.Operator):
    """Write the selected splat objects into one file, as edited and where they are: transforms are applied, view-dependent colour
    turns along. The file is read back before it counts as written"""

    bl_idname = "exgs.export_splats"
    bl_label = "Export 3D Gaussian Splats"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", description="The file to write; its suffix names the format")
    filter_glob: StringProperty(
        default=";".join(f"*{suffix}" for suffix in formats.writable_suffixes()),
        options={"HIDDEN"},
        description="Which files the file browser shows",
    )
    check_existing: BoolProperty(default=True, options={"HIDDEN"}, description="Warn before an existing file is overwritten")
    file_format: EnumProperty(
        name="Format", items=_format_items(), description="What kind of file to write. Smaller kinds round colours and shapes more"
    )
    selected_only: BoolProperty(
        name="Selected Only", default=True, description="Write the selected splat objects; off writes all that this scene shows"
    )
    up: up_axis_of_file(WRITTEN, "Which axis points up in the file. Imported with the same choice, the capture is where it was")
    sh_degree: EnumProperty(
        name="Highest SH Degree",
        items=[
            ("4", "Keep All", "Keep all view-dependent colour"),
            ("3", "3", "What most programs can show"),
            ("2", "2", "Highlights become a little softer"),
            ("1", "1", "Only broad changes of colour with the view"),
            ("0", "0", "The same colour from everywhere: the smallest file, reflections are gone"),
        ],
        description="How much of the view-dependent colour is kept",
    )
    spz_version: EnumProperty(
        name="SPZ Version",
        items=[(str(v), str(v), f"Write version {v} of the format") for v in (1, 2, 3, 4)],
        default="3",
        description="Older versions open in more programs; 4 is a little smaller. It hardly changes the picture",
    )
    ratio: FloatProperty(
        name="Ratio",
        default=0.0,
        min=0.0,
        soft_max=1000.0,
        precision=0,
        description="For .exgs: how many times smaller the file becomes, made in the background. 0 keeps every splat and rounds it finely",
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if not self.filepath:
            obj = context.object
            self.filepath = str(Path(bpy.data.filepath).with_name(f"{obj.name if obj else 'splats'}.ply"))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: bpy.types.Context) -> bool:
        """Keep the file's suffix and the chosen format together."""
        if self.file_format == BY_SUFFIX:
            return False
        path = str(path_with_format(Path(self.filepath), self.file_format))
        changed, self.filepath = path != self.filepath, path
        return changed

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        for name in ("file_format", "selected_only", "up", "sh_degree"):
            layout.prop(self, name)
        name = self.filepath.lower()
        if name.endswith(".spz"):
            layout.prop(self, "spz_version")
        if name.endswith(".exgs"):
            layout.prop(self, "ratio")

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(bpy.path.abspath(self.filepath))
        if self.file_format != BY_SUFFIX:
            path = path_with_format(path, self.file_format)
        done = export(context, path, self._options())
        told = f"{done:,} splats written to {path} and read back" if isinstance(done, int) else f"{path.name} is written in the background"
        self.report({"INFO"}, told)
        return {"FINISHED"}

    def _options(self) -> ExportOptions:
        return ExportOptions(self.up, self.selected_only, int(self.sh_degree), int(self.spz_version), self.ratio)


def path_with_format(path: Path, suffix: str) -> Path:
    """The path with another of our suffixes; "meta.json" stands for a folder's file of that name."""
    if path.name.lower().endswith(suffix):
        return path
    stem = path.name
    for known in sorted(formats.writable_suffixes(), key=len, reverse=True):
        if stem.lower().endswith(known):
            stem = stem[: -len(known)]
            break
    if not suffix.startswith("."):
        return path.with_name(stem or "splats") / suffix
    return path.with_name((stem or "splats") + suffix)


def _export_entry(menu: Any, context: bpy.types.Context) -> None:
    menu.layout.operator(ExportSplats.bl_idname, text="3D Gaussian Splats (.ply, .spz, .sog, .exgs, ...)")


CLASSES = (ExportSplats,)


def register() -> None:
    bpy.types.TOPBAR_MT_file_export.append(_export_entry)


def unregister() -> None:
    bpy.types.TOPBAR_MT_file_export.remove(_export_entry)
