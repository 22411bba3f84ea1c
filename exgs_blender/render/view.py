# SPDX-License-Identifier: GPL-3.0-or-later
"""One view's numbers in the shape that the rasterizers take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..cameras import Cameras
from ..errors import ExgsError

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class View:
    """One camera of a set; see ``Cameras``.

    Attributes:
        position: [3] camera centre in the world.
        forward: [3] the direction it looks along, in the world, unit length.
    """

    viewmat: F64
    K: F64
    width: int
    height: int
    ortho: bool
    near: float
    far: float
    position: F64
    forward: F64

    @property
    def ray(self) -> tuple[float, F64]:
        """(p, d [3]): SH is evaluated along p * mean + d, in world coordinates and not of unit length.

        A pinhole camera looks from its centre to the Gaussian; an orthographic one has one direction for all.
        """
        return (0.0, self.forward) if self.ortho else (1.0, -self.position)


def view_of(cameras: Cameras, index: int) -> View:
    """The view ``index`` of a set.

    Raises:
        ExgsError: there is no such view, or its pose cannot be inverted.
    """
    if not -len(cameras) <= index < len(cameras):
        raise ExgsError(f"camera {index} does not exist; there are {len(cameras)}")
    viewmat = cameras.viewmats[index]
    try:
        world_from_cam = np.linalg.inv(viewmat)
    except np.linalg.LinAlgError:
        raise ExgsError(f"camera {cameras.names[index]}: its viewmat cannot be inverted") from None
    forward = world_from_cam[:3, 2]
    return View(
        viewmat=viewmat,
        K=cameras.Ks[index],
        width=int(cameras.widths[index]),
        height=int(cameras.heights[index]),
        ortho=cameras.camera_model == "ortho",
        near=cameras.near_plane,
        far=cameras.far_plane,
        position=world_from_cam[:3, 3],
        forward=forward / np.linalg.norm(forward),
    )
