# SPDX-License-Identifier: GPL-3.0-or-later
"""The two shaders, compiled once for each degree of the harmonics."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gpu

from . import packing

FOLDER = Path(__file__).parent
SPLATS_PER_BATCH = 64
"""Quads in the batch that is drawn again and again: one quad an instance leaves most of a graphics card idle."""

# The numbers that define the image; the renderers' are in ``render.constants``, which Blender's process does not import.
CONSTANTS = {"ALPHA_MAX": "0.999", "ALPHA_MIN": "(1.0 / 255.0)", "EPS2D": "0.3", "FRUSTUM_MARGIN": "0.3"}

# mat4, then vec4s. image: width, height, whether to test the depth. options: splats, orthographic, near, antialiased.
VIEW = "struct ExgsView { mat4 projection; vec4 image; vec4 options; };"


@cache
def splat_shader(degree: int) -> Any:
    """Draws splats into our own picture."""
    info = gpu.types.GPUShaderCreateInfo()
    for name, value in CONSTANTS.items():
        info.define(name, value)
    info.define("SPLATS_PER_BATCH", str(SPLATS_PER_BATCH))
    info.define("SPLATS_PER_ROW", str(packing.SPLATS_PER_ROW))
    info.define("ORDER_WIDTH", str(packing.ORDER_WIDTH))
    info.define("HARMONICS_TEXELS", str(packing.harmonics_texels(degree)))
    info.define("SH_DEGREE", str(degree))
    info.typedef_source(VIEW)
    info.uniform_buf(0, "ExgsView", "view")
    for slot, name in enumerate(("geometry", "harmonics", "instances", "order", "scene_depth")):
        info.sampler(slot, "FLOAT_2D", name)
    info.vertex_in(0, "VEC3", "corner")
    passed = gpu.types.GPUStageInterfaceInfo("exgs_splat")
    passed.smooth("VEC2", "from_centre")
    passed.flat("VEC4", "colour")
    passed.flat("FLOAT", "window_depth")
    info.vertex_out(passed)
    info.fragment_out(0, "VEC4", "pixel")
    info.vertex_source(_text("harmonics.glsl") + _text("splat.vert.glsl"))
    info.fragment_source(_text("splat.frag.glsl"))
    return gpu.shader.create_from_info(info)


@cache
def over_shader() -> Any:
    """Lays the finished picture over the view."""
    info = gpu.types.GPUShaderCreateInfo()
    info.sampler(0, "FLOAT_2D", "picture")
    info.vertex_in(0, "VEC2", "corner")
    info.fragment_out(0, "VEC4", "pixel")
    info.vertex_source("void main() { gl_Position = vec4(corner, 0.0, 1.0); }\n")
    info.fragment_source(_text("over.frag.glsl"))
    return gpu.shader.create_from_info(info)


@cache
def uncover_shader() -> Any:
    """Takes overlays away where a picture covers them; the picture lies in a rectangle of the view."""
    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("VEC4", "rectangle")  # left, bottom, width, height, -1 to 1 over the view
    info.sampler(0, "FLOAT_2D", "picture")
    info.vertex_in(0, "VEC2", "corner")
    passed = gpu.types.GPUStageInterfaceInfo("exgs_uncover")
    passed.smooth("VEC2", "place")
    info.vertex_out(passed)
    info.fragment_out(0, "VEC4", "pixel")
    info.vertex_source("void main() { place = 0.5 * corner + 0.5; gl_Position = vec4(rectangle.xy + place * rectangle.zw, 0.0, 1.0); }\n")
    info.fragment_source(_text("uncover.frag.glsl"))
    return gpu.shader.create_from_info(info)


def forget() -> None:
    """Let go of the compiled shaders."""
    splat_shader.cache_clear()
    over_shader.cache_clear()
    uncover_shader.cache_clear()


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
