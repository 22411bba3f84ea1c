# SPDX-License-Identifier: GPL-3.0-or-later
"""ExGS: 3D Gaussian Splatting captures in Blender - import, compress, render, restore.

The package runs in two processes. Inside Blender only ``exgs_blender.blender`` and the numpy layers
are imported; torch and its kind live in the worker's own Python. Importing the package needs neither.
"""

from __future__ import annotations

from .version import __version__

__all__ = ["__version__", "register", "unregister"]


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from . import blender

    blender.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    from . import blender

    blender.unregister()
