# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Python runs the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from ..worker.environment import worker_python
from .user_folder import ADDON, environment_folder


def preferences_of(context: bpy.types.Context) -> Any:
    """The add-on's preferences; None where a script registered the package without enabling it."""
    addon = context.preferences.addons.get(ADDON)
    return addon.preferences if addon else None


def chosen_python() -> Path:
    """The worker's interpreter by the preferences, the environment, or the one that was installed from the preferences.

    Raises:
        ExgsError: there is none; says what to do.
    """
    preferences = preferences_of(bpy.context)
    named = bpy.path.abspath(preferences.worker_python) if preferences and preferences.worker_python else ""
    return worker_python(named, environment_folder())
