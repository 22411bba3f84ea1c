# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: where the worker's Python is."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import StringProperty

from ..errors import ExgsError
from ..worker.environment import worker_python

ADDON = __package__.rpartition(".")[0]
"""The add-on's name in Blender, whatever repository it was installed from."""


class ExgsPreferences(bpy.types.AddonPreferences):
    bl_idname = ADDON

    worker_python: StringProperty(
        name="Worker Python",
        subtype="FILE_PATH",
        description="The Python program that compresses, renders and restores, outside Blender. "
        "Empty takes the one that ExGS installed for itself",
    )

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.prop(self, "worker_python")
        try:
            found = worker_python(bpy.path.abspath(self.worker_python))
            self.layout.label(text=f"Worker: {found}", icon="CHECKMARK")
        except ExgsError as error:
            self.layout.label(text=str(error), icon="ERROR")


def chosen_python() -> Path:
    """The worker's interpreter by the preferences, the environment or the default place.

    Raises:
        ExgsError: there is none; says what to do.
    """
    addon = bpy.context.preferences.addons.get(ADDON)
    preferences = addon.preferences if addon else None  # None where a script registered the package without enabling it
    return worker_python(bpy.path.abspath(preferences.worker_python) if preferences else "")


CLASSES = (ExgsPreferences,)
