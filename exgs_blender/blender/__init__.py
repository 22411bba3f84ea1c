# SPDX-License-Identifier: GPL-3.0-or-later
"""The only folder with bpy: operators, the render engine, the compositor, panels.

Importing this package needs no bpy; its modules do, and are imported by :func:`register`.
Each module has ``CLASSES`` and, where it adds more than classes, ``register`` and ``unregister``.
"""

from __future__ import annotations

import atexit
import importlib
from types import ModuleType

MODULES = (
    "viewport.properties",
    "properties",
    "colour_management",
    "job_runner",
    "content",
    "frame_rate",
    "engine",
    "ops_import",
    "ops_compress",
    "ops_export",
    "ops_cameras",
    "ops_compositing",
    "ops_proxy",
    "setup_worker",
    "preferences",
    "menus",
    "panel_compress",
    "panels",
    "ops_edit",
    "viewport.draw",
    "viewport.panel",
    "viewport.live",
)


def _modules() -> list[ModuleType]:
    return [importlib.import_module(f"{__package__}.{name}") for name in MODULES]


def register() -> None:
    """Add everything to Blender; on a failure nothing stays registered."""
    import bpy

    done: list[ModuleType] = []
    try:
        for module in _modules():
            for cls in getattr(module, "CLASSES", ()):
                bpy.utils.register_class(cls)
            getattr(module, "register", _nothing)()
            done.append(module)
    except Exception:
        _unregister(done)
        raise
    atexit.register(_close_processes)


def unregister() -> None:
    """Remove everything again and end the processes that were started."""
    atexit.unregister(_close_processes)
    _unregister(_modules())


def _unregister(modules: list[ModuleType]) -> None:
    import bpy

    for module in reversed(modules):
        getattr(module, "unregister", _nothing)()
        for cls in reversed(getattr(module, "CLASSES", ())):
            if cls.is_registered:
                bpy.utils.unregister_class(cls)


def _nothing() -> None:
    """For modules that add nothing but classes."""


def _close_processes() -> None:
    """Blender is closing: leave no worker behind."""
    from .job_runner import RUNNER
    from .render_session import SESSION

    RUNNER.stop()
    SESSION.close()
