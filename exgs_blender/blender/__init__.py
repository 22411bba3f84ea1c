# SPDX-License-Identifier: GPL-3.0-or-later
"""The only folder with bpy: operators, the render engine, the compositor, panels."""


def register() -> None:
    """Add everything to Blender."""


def unregister() -> None:
    """Remove everything again."""
