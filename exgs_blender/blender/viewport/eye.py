# SPDX-License-Identifier: GPL-3.0-or-later
"""How a region of a 3D view looks at the world, in OpenGL's words and in the renderers'. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...cameras import Cameras
from ...cameras.conventions import FLIP_YZ

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Eye:
    """How a view looks at the world.

    Attributes:
        view_from_world: [4, 4], OpenGL's axes.
        projection: [4, 4].
        width, height: pixels.
        near: distance along the view axis at which splats begin.
        antialiased: see ``RenderSettings.rasterize_mode``.
    """

    view_from_world: F64
    projection: F64
    width: int
    height: int
    near: float
    antialiased: bool = False

    @property
    def ortho(self) -> bool:
        return bool(self.projection[3, 3] == 1.0)

    @property
    def clip_from_world(self) -> F64:
        return self.projection @ self.view_from_world

    @property
    def cameras(self) -> Cameras:
        """The same view for the worker."""
        p = self.projection
        middle_x, middle_y = (p[0, 3], p[1, 3]) if self.ortho else (-p[0, 2], -p[1, 2])
        K = np.array(
            [
                [p[0, 0] * self.width / 2, 0, self.width / 2 * (1 + middle_x)],
                [0, p[1, 1] * self.height / 2, self.height / 2 * (1 - middle_y)],
                [0, 0, 1],
            ]
        )
        return Cameras(
            viewmats=(FLIP_YZ @ self.view_from_world)[None],
            Ks=K[None],
            widths=np.array([self.width]),
            heights=np.array([self.height]),
            frames=np.array([0]),
            names=("view",),
            camera_model="ortho" if self.ortho else "pinhole",
            near_plane=self.near,
        )
