# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of calibrated views, in gsplat's terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError

F64 = NDArray[np.float64]
CameraModel = Literal["pinhole", "ortho"]

NEAR_PLANE = 0.01
FAR_PLANE = 1e10


@dataclass(frozen=True, eq=False)
class Cameras:
    """C views; OpenCV axes (x right, y down, z forward), pixel centres at i + 0.5.

    Attributes:
        viewmats: [C, 4, 4] cam_from_world, a rigid motion (or one with a uniform scale).
        Ks: [C, 3, 3] intrinsics in pixels; for "ortho" fx, fy are pixels per world unit.
        widths, heights: [C] image size in pixels.
        frames: [C] frame numbers; the order of output.
        names: C names for output files (an image's name, or the frame number).
        camera_model: "pinhole" or "ortho", gsplat's names.
        near_plane, far_plane: clip distances in world units.

    Raises:
        ExgsError: on construction, where a shape or value does not fit; names the field.
    """

    viewmats: F64
    Ks: F64
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    frames: NDArray[np.int64]
    names: tuple[str, ...]
    camera_model: CameraModel = "pinhole"
    near_plane: float = NEAR_PLANE
    far_plane: float = FAR_PLANE

    def __post_init__(self) -> None:
        dtypes = {"viewmats": np.float64, "Ks": np.float64, "widths": np.int64, "heights": np.int64, "frames": np.int64}
        for name, dtype in dtypes.items():
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=dtype))
        object.__setattr__(self, "names", tuple(self.names))
        count = len(self.names)
        shapes = {"viewmats": (count, 4, 4), "Ks": (count, 3, 3), "widths": (count,), "heights": (count,), "frames": (count,)}
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ExgsError(f"Cameras: field '{name}' has shape {list(found)}, expected {list(shape)}")
        if not (np.isfinite(self.viewmats).all() and np.isfinite(self.Ks).all()):
            raise ExgsError("Cameras: a pose or intrinsic value is not finite")
        if count and (min(self.widths.min(), self.heights.min()) < 1 or self.Ks[:, [0, 1], [0, 1]].min() <= 0):
            raise ExgsError("Cameras: image sizes and focal lengths must be positive")
        if self.camera_model not in ("pinhole", "ortho"):
            raise ExgsError(f"Cameras: camera_model is '{self.camera_model}', expected 'pinhole' or 'ortho'")

    def __len__(self) -> int:
        return len(self.names)

    def select(self, index: Sequence[int] | NDArray[np.integer[Any]] | slice) -> Cameras:
        """The views with these indices, in this order."""
        picked = range(len(self))[index] if isinstance(index, slice) else [int(i) for i in index]
        rows = np.asarray(list(picked), np.int64)
        return replace(
            self,
            viewmats=self.viewmats[rows],
            Ks=self.Ks[rows],
            widths=self.widths[rows],
            heights=self.heights[rows],
            frames=self.frames[rows],
            names=tuple(self.names[i] for i in rows),
        )

    def evenly(self, count: int) -> Cameras:
        """At most ``count`` of the views, evenly picked, the first and the last among them."""
        return self.select(evenly_picked(len(self), count))

    def resized(self, long_side: int) -> Cameras:
        """The same views with images whose longer side has ``long_side`` pixels (rounded, at least 1)."""
        factor = long_side / np.maximum(self.widths, self.heights)
        widths = np.maximum(np.rint(self.widths * factor), 1).astype(np.int64)
        heights = np.maximum(np.rint(self.heights * factor), 1).astype(np.int64)
        Ks = self.Ks.copy()
        Ks[:, 0] *= (widths / self.widths)[:, None]
        Ks[:, 1] *= (heights / self.heights)[:, None]
        return replace(self, Ks=Ks, widths=widths, heights=heights)

    def world_from_cam(self) -> F64:
        """[C, 4, 4] inverse of ``viewmats``."""
        return np.linalg.inv(self.viewmats)

    def positions(self) -> F64:
        """[C, 3] camera centres in world coordinates."""
        return self.world_from_cam()[:, :3, 3]


def evenly_picked(length: int, count: int) -> NDArray[np.int64]:
    """At most ``count`` of 0..length-1, evenly spread, both ends among them; of one alone the first."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(np.int64))


def concatenate(sets: Sequence[Cameras]) -> Cameras:
    """All views of several sets; they must share camera model and clip planes."""
    first = sets[0]
    for other in sets[1:]:
        if other.camera_model != first.camera_model:
            raise ExgsError("Cameras: sets with different camera models cannot be joined")
    return replace(
        first,
        **{name: np.concatenate([getattr(s, name) for s in sets]) for name in ("viewmats", "Ks", "widths", "heights", "frames")},
        names=tuple(name for s in sets for name in s.names),
    )
