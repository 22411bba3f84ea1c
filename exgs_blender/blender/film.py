# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture's background where the film is not transparent."""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray

from ..splats.gaussians import F32
from ..splats.srgb import linear_from_srgb, srgb_from_linear


def world_colour(world: bpy.types.World | None) -> NDArray[np.float32]:
    """[3] scene-linear colour of a world: its Background node where that is a plain colour, else the viewport colour."""
    if world is None:
        return np.zeros(3, np.float32)
    nodes = world.node_tree.nodes if getattr(world, "use_nodes", True) and world.node_tree else ()
    for node in nodes:
        if node.bl_idname == "ShaderNodeBackground" and not node.inputs["Color"].is_linked:
            return np.array(node.inputs["Color"].default_value[:3], np.float32) * np.float32(node.inputs["Strength"].default_value)
    return np.array(world.color[:], np.float32)


def over_background(image: F32, background: NDArray[np.float32]) -> F32:
    """Premultiplied scene-linear [H, W, 4] over a linear colour [3], blended as captures are trained: in sRGB space.

    The result is opaque. ``C = A * srgb(F / A)``, then ``linear(C + (1 - A) * srgb(background))``.
    """
    alpha = image[..., 3:]
    straight = image[..., :3] / np.maximum(alpha, 1e-10)
    blended = alpha * srgb_from_linear(straight) + (1.0 - alpha) * srgb_from_linear(background)
    result = np.ones_like(image)
    result[..., :3] = linear_from_srgb(blended)
    return result
