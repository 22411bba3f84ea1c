# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the add-on keeps files of its own: the folder that Blender gives each extension."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..worker.environment import default_folder

ADDON = __package__.rpartition(".")[0]
"""The add-on's name in Blender, whatever repository it was installed from."""


def user_folder() -> Path:
    """The extension's user folder; a script that registers the package without installing it gets ExGS's data folder."""
    if ADDON.startswith("bl_ext."):
        return Path(bpy.utils.extension_path_user(ADDON, create=True))
    return default_folder().parent


def environment_folder() -> Path:
    """Where the worker's environment is installed."""
    return user_folder() / "worker"
