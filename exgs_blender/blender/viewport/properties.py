# SPDX-License-Identifier: GPL-3.0-or-later
"""How the 3D view draws splats: ``scene.exgs.viewport``."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, IntProperty

from ...splats import MAX_SH_DEGREE
from ..splat_object import NATIVE


def _redraw(settings: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    from .draw import redraw

    redraw()


class ViewportProperties(bpy.types.PropertyGroup):
    show: BoolProperty(
        name="Splats",
        default=not NATIVE,
        update=_redraw,
        description="Draw splats as they will be rendered, in Solid and Material Preview. Off leaves what Blender itself draws",
    )
    budget: IntProperty(
        name="Most Splats",
        default=2_000_000,
        min=1000,
        soft_min=50_000,
        soft_max=10_000_000,
        update=_redraw,
        description="Draw at most so many splats, the large and opaque ones first. Fewer make the view faster and lose fine detail; "
        "renders always have all",
    )
    fewer_while_moving: BoolProperty(
        name="Fewer While Moving",
        default=True,
        update=_redraw,
        description="While the view moves, draw only as many splats as this computer manages fluidly; all of them once it is still",
    )
    sh_degree: IntProperty(
        name="Colour Detail",
        default=3,
        min=0,
        max=MAX_SH_DEGREE,
        update=_redraw,
        description="Highest degree of the colours' change with the view: 0 shows one colour a splat and takes the least memory. "
        "Renders always have all",
    )


CLASSES = (ViewportProperties,)
