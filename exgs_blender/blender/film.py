# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture's background where the film is not transparent."""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray


def world_colour(world: bpy.types.World | None) -> NDArray[np.float32]:
    """[3] scene-linear colour of a world: its Background node where that is a plain colour, else the viewport colour."""
    if world is None:
        return np.zeros(3, np.float32)
    nodes = world.node_tree.nodes if getattr(world, "use_nodes", True) and world.node_tree else ()
    for node in nodes:
        if node.bl_idname == "ShaderNodeBackground" and not node.inputs["Color"].is_linked:
            return np.array(node.inputs["Color"].default_value[:3], np.float32) * np.float32(node.inputs["Strength"].default_value)
    return np.array(world.color[:], np.float32)
