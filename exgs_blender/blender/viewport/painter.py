# SPDX-License-Identifier: GPL-3.0-or-later
"""Textures and draw calls: an atlas, an order and a view -> a picture in an offscreen of half floats."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import gpu
import numpy as np
from numpy.typing import NDArray

from . import shaders
from .eye import Eye
from .packing import Atlas, pack_instances, pack_order

F64 = NDArray[np.float64]


class AtlasTextures:
    """An atlas on the graphics card."""

    def __init__(self, atlas: Atlas) -> None:
        self.first_rows = atlas.first_rows
        self.degree = atlas.degree
        self.left_out = atlas.left_out
        self.geometry = texture(atlas.geometry, "RGBA32F")
        self.harmonics = texture(atlas.harmonics, "RGBA16F")


class OrderTexture:
    """What a view draws, farthest first, on the graphics card."""

    def __init__(self, slots: NDArray[np.float32]) -> None:
        self.count = len(slots)
        self.texture = texture(pack_order(slots), "RG32F")


class Canvas:
    """The offscreen picture of a region, made anew when the region changes its size."""

    def __init__(self, pixel_format: str = "RGBA16F") -> None:
        self._format = pixel_format
        self._offscreen: Any = None

    def sized(self, width: int, height: int) -> Any:
        if self._offscreen is None or (self._offscreen.width, self._offscreen.height) != (width, height):
            self.free()
            self._offscreen = gpu.types.GPUOffScreen(width, height, format=self._format)
        return self._offscreen

    def finish(self) -> None:
        """Wait until the graphics card is done with the picture: reading a pixel cannot come before."""
        with self._offscreen.bind():
            gpu.state.active_framebuffer_get().read_color(0, 0, 1, 1, 4, 0, "FLOAT")

    def free(self) -> None:
        if self._offscreen is not None:
            self._offscreen.free()
        self._offscreen = None


def texture(values: NDArray[np.float32], pixel_format: str) -> Any:
    """[H, W, C] -> a texture."""
    height, width, _ = values.shape
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    return gpu.types.GPUTexture((width, height), format=pixel_format, data=gpu.types.Buffer("FLOAT", flat.size, flat))


def paint(canvas: Canvas, atlas: AtlasTextures, order: OrderTexture, eye: Eye, placed: Sequence[tuple[str, F64]], depth: Any) -> Any:
    """Blend the splats of an order into the canvas; returns the finished picture's texture.

    Args:
        placed: (cloud key, world_from_object) of the instances that the order numbers.
        depth: a texture with the window depth of what the splats may hide behind, or None.
    """
    offscreen = canvas.sized(eye.width, eye.height)
    shader = shaders.splat_shader(atlas.degree)
    rows = [atlas.first_rows.get(key, 0) for key, _ in placed]
    instances = texture(pack_instances(eye.view_from_world, [matrix for _, matrix in placed], rows, ortho=eye.ortho), "RGBA32F")
    block = _view_block(eye, order.count, depth is not None)
    with offscreen.bind():
        gpu.state.active_framebuffer_get().clear(color=(0.0, 0.0, 0.0, 0.0))
        if order.count:
            gpu.state.depth_test_set("NONE")
            gpu.state.depth_mask_set(False)
            gpu.state.face_culling_set("NONE")
            gpu.state.blend_set("ALPHA_PREMULT")
            shader.bind()
            shader.uniform_block("view", block)
            shader.uniform_sampler("geometry", atlas.geometry)
            shader.uniform_sampler("harmonics", atlas.harmonics)
            shader.uniform_sampler("instances", instances)
            shader.uniform_sampler("order", order.texture)
            shader.uniform_sampler("scene_depth", depth if depth is not None else order.texture)
            batches = -(-order.count // shaders.SPLATS_PER_BATCH)
            _quads().draw_instanced(shader, instance_start=0, instance_count=batches)
            gpu.state.blend_set("NONE")
    return offscreen.texture_color


def lay_over(picture: Any) -> None:
    """Draw a finished picture over the framebuffer that is bound, pixel on pixel."""
    shader = shaders.over_shader()
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("ALPHA_PREMULT")
    shader.bind()
    shader.uniform_sampler("picture", picture)
    _whole_screen().draw(shader)
    gpu.state.blend_set("NONE")


def uncover(cover: Any, rectangle: tuple[int, int, int, int]) -> None:
    """Multiply the framebuffer that is bound by what a picture with this opacity leaves of it.

    Args:
        cover: one-channel texture of opacities.
        rectangle: left, bottom, width, height in pixels, where it lies.
    """
    _, _, width, height = gpu.state.viewport_get()
    shader = shaders.uncover_shader()
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("MULTIPLY")
    shader.bind()
    left, bottom, wide, high = rectangle
    shader.uniform_float("rectangle", (2 * left / width - 1, 2 * bottom / height - 1, 2 * wide / width, 2 * high / height))
    shader.uniform_sampler("picture", cover)
    _whole_screen().draw(shader)
    gpu.state.blend_set("NONE")


def _view_block(eye: Eye, count: int, test_depth: bool) -> Any:
    numbers = [*np.asarray(eye.projection, np.float32).T.ravel()]
    numbers += [eye.width, eye.height, float(test_depth), 0.0, count, float(eye.ortho), eye.near, float(eye.antialiased)]
    return gpu.types.GPUUniformBuf(struct.pack(f"{len(numbers)}f", *numbers))


_BATCHES: dict[str, Any] = {}


def _quads() -> Any:
    """A batch of as many quads as the shader numbers in an instance."""
    if "quads" not in _BATCHES:
        count = shaders.SPLATS_PER_BATCH
        corners = np.zeros((count, 4, 3), np.float32)
        corners[..., :2] = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        corners[..., 2] = np.arange(count)[:, None]
        triangles = np.arange(count)[:, None, None] * 4 + np.array([(0, 1, 2), (0, 2, 3)])
        _BATCHES["quads"] = _batch(corners.reshape(-1, 3), triangles.reshape(-1, 3))
    return _BATCHES["quads"]


def _whole_screen() -> Any:
    if "screen" not in _BATCHES:
        _BATCHES["screen"] = _batch(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float32), np.array([(0, 1, 2), (0, 2, 3)]))
    return _BATCHES["screen"]


def _batch(corners: NDArray[np.float32], triangles: NDArray[np.int64]) -> Any:
    layout = gpu.types.GPUVertFormat()
    layout.attr_add(id="corner", comp_type="F32", len=corners.shape[1], fetch_mode="FLOAT")
    vertices = gpu.types.GPUVertBuf(layout, len(corners))
    vertices.attr_fill("corner", corners)
    return gpu.types.GPUBatch(type="TRIS", buf=vertices, elem=gpu.types.GPUIndexBuf(type="TRIS", seq=triangles.astype(np.int32)))


def forget() -> None:
    """Let go of everything that this module and ``shaders`` keep."""
    _BATCHES.clear()
    shaders.forget()
