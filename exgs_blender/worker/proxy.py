# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy job: a capture in, the mesh of its visible surface out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..atomic import atomic_path
from ..cameras.trajectories import Up
from ..formats import read
from ..progress import Report, silent, under


def proxy(source: str, target: str, detail: int = 96, up: Up = "-y", report: Report = silent) -> dict[str, Any]:
    """Fuse the depths of generated views into a mesh. Returns the numbers of vertices and quads.

    Args:
        target: NumPy archive with ``vertices`` [V, 3], in the capture's coordinates, and ``quads`` [Q, 4].
        detail: voxels along the longest side of what is seen.
        up: the world's up direction in the capture's own axes; the views look from there and from the sides, as a camera does.

    Raises:
        ExgsError: nothing solid is seen.
    """
    from ..evaluate.held_out import training_views
    from ..render.depth_surface import depth_surface

    gaussians = read(source, report=under("read", report))
    surface = depth_surface(gaussians, training_views(gaussians, up=up), detail, under("surface", report))
    with atomic_path(target) as part, part.open("wb") as file:
        np.savez(file, vertices=surface.vertices, quads=surface.quads)
    return {"target": target, "vertices": len(surface.vertices), "quads": len(surface.quads)}
