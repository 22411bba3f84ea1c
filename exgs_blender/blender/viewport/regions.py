# SPDX-License-Identifier: GPL-3.0-or-later
"""What each region of a 3D view draws, and when it needs another order."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import bpy
import numpy as np

from .clouds import Shown
from .eye import Eye
from .painter import AtlasTextures, Canvas, OrderTexture

STILL_SECONDS = 0.25
"""A view that has not changed for so long is still, and gets all its splats."""

Kind = Literal["moving", "still"]


@dataclass(frozen=True, eq=False)
class Wanted:
    """What an order is made of; one that was made of the same needs no new one.

    Attributes:
        axes: bytes of the part of the view that the order depends on.
        budget: how many splats it holds.
    """

    atlas: AtlasTextures
    shown: tuple[Shown, ...]
    axes: bytes
    budget: int

    def same_as(self, other: Wanted | None) -> bool:
        return (
            other is not None
            and self.atlas is other.atlas
            and (self.axes, self.budget) == (other.axes, other.budget)
            and [item.place for item in self.shown] == [item.place for item in other.shown]
        )


@dataclass(frozen=True, eq=False)
class Order:
    """An order on the graphics card, and what it was made of."""

    texture: OrderTexture
    made_of: Wanted


@dataclass(eq=False)
class Region:
    """State of one region between frames."""

    canvas: Canvas = field(default_factory=Canvas)
    orders: dict[Kind, Order] = field(default_factory=dict)
    asked: dict[Kind, Wanted] = field(default_factory=dict)
    moving: bool = False
    used_at: float = 0.0
    _clip: bytes = b""
    _moved_at: float = -1e9

    def look(self, eye: Eye) -> None:
        """Note where the view is now; decides whether it moves."""
        self.used_at = time.monotonic()
        clip = eye.clip_from_world.tobytes()
        if clip != self._clip:
            self._moved_at = self.used_at if self._clip else self._moved_at
            self._clip = clip
        self.moving = self.used_at - self._moved_at < STILL_SECONDS

    @property
    def comes_to_rest(self) -> bool:
        """The last frame was drawn for a moving view, which is still by now."""
        return self.moving and time.monotonic() - self._moved_at >= STILL_SECONDS

    def best(self, wanted: dict[Kind, Wanted]) -> Order | None:
        """The order to draw: the wanted one; while it is being made, the quick one; else whatever there is."""
        moving, still = self.orders.get("moving"), self.orders.get("still")
        if self.moving or still is None:
            return moving or still
        fits = "still" in wanted and wanted["still"].same_as(still.made_of)
        return still if fits or moving is None else moving


def eye_of(context: bpy.types.Context, *, antialiased: bool) -> Eye:
    """How the context's region looks at the world."""
    region, region_data, space = context.region, context.region_data, context.space_data
    camera = space.camera if region_data.view_perspective == "CAMERA" else None
    near = camera.data.clip_start if camera is not None and camera.type == "CAMERA" else space.clip_start
    projection = np.array(region_data.window_matrix, np.float64)
    free_ortho = projection[3, 3] == 1.0 and camera is None
    return Eye(
        view_from_world=np.array(region_data.view_matrix, np.float64),
        projection=projection,
        width=region.width,
        height=region.height,
        near=-1e30 if free_ortho else near,  # an orthographic 3D view also shows what lies behind its eye
        antialiased=antialiased,
    )


def axes_of(eye: Eye, *, all_fit: bool) -> bytes:
    """What an order depends on: where all splats are drawn, the direction of the view alone, however it moves."""
    found: Any = eye.view_from_world[2, :3] if all_fit else eye.clip_from_world
    return found.tobytes()
