# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries in Blender's own menus."""

from __future__ import annotations

from typing import Any

import bpy

from .ops_import import ImportSplats


def _import_entry(menu: Any, context: bpy.types.Context) -> None:
    menu.layout.operator(ImportSplats.bl_idname, text="3D Gaussian Splats (.ply, .spz, .sog, .exgs, ...)")


CLASSES = ()


def register() -> None:
    bpy.types.TOPBAR_MT_file_import.append(_import_entry)


def unregister() -> None:
    bpy.types.TOPBAR_MT_file_import.remove(_import_entry)
