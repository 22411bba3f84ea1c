# SPDX-License-Identifier: GPL-3.0-or-later
"""Which splats a view draws, and in which order: one order over all objects, farthest first. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...splats.gaussians import F32

F64 = NDArray[np.float64]

WIDER = 1.5
"""Splats up to this many half-images off the centre count as seen when not all can be drawn: there is room to turn into."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A cloud at a place.

    Attributes:
        means: [N, 3] object space.
        significance: [N], see ``packing``.
        world_from_object: [4, 4].
    """

    means: F32
    significance: F32
    world_from_object: F64


def depth_order(depths: F32) -> NDArray[np.int64]:
    """[N] indices, farthest first; of equal depths the later one first, so that reversed it is a stable order, nearest first.

    Two passes of a 16-bit radix sort (numpy's stable sort of uint16) over the floats' bits, made to compare as integers.
    """
    bits = np.ascontiguousarray(depths, np.float32).view(np.uint32)
    keys = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(0x80000000))
    low = np.argsort(keys.astype(np.uint16), kind="stable")
    high = np.argsort((keys >> np.uint32(16)).astype(np.uint16)[low], kind="stable")
    return low[high][::-1]


def view_order(placed: Sequence[Placed], clip_from_world: F64, budget: int) -> F32:
    """What to draw for a view.

    Args:
        placed: the visible instances.
        clip_from_world: [4, 4] projection times view, OpenGL's.
        budget: at most so many splats; the most significant ones that the view sees come first.

    Returns:
        [M, 2] (splat, instance) pairs as floats, farthest first along the view axis.
    """
    total = sum(len(item.means) for item in placed)
    depths = np.empty(total, np.float32)
    instances = np.empty(total, np.float32)
    splats = np.empty(total, np.float32)
    axis = depth_axis(clip_from_world)
    start = 0
    for number, item in enumerate(placed):
        rows = slice(start, start := start + len(item.means))
        depths[rows] = affine(item, axis[None])[:, 0]
        instances[rows] = number
        splats[rows] = np.arange(len(item.means), dtype=np.float32)
    if total > budget:
        kept = most_significant(placed, clip_from_world, budget)
        depths, instances, splats = depths[kept], instances[kept], splats[kept]
    order = depth_order(depths)
    return np.stack([splats[order], instances[order]], axis=1)


def depth_axis(clip_from_world: F64) -> F64:
    """[4] row whose product with a point grows with its distance along the view axis.

    A perspective view's last row is that distance; an orthographic one's is constant, and its third row grows with it.
    """
    row = clip_from_world[3] if np.abs(clip_from_world[3, :3]).max() > 1e-12 else clip_from_world[2]
    return row / np.linalg.norm(row[:3])


def affine(item: Placed, rows: F64) -> F32:
    """[N, R]: the products of rows [R, 4] with an instance's points in the world."""
    matrix = (rows @ item.world_from_object).astype(np.float32)
    found: F32 = item.means @ matrix[:, :3].T + matrix[:, 3]
    return found


def most_significant(placed: Sequence[Placed], clip_from_world: F64, budget: int) -> NDArray[np.int64]:
    """Indices into all instances' splats, ascending: the ``budget`` most significant of those that the view sees.

    What the view does not see is taken only where the budget is not used up. The choice depends on the view through the
    edge of what is seen alone, so splats do not come and go while the camera moves.
    """
    values = np.concatenate([_seen_significance(item, clip_from_world) for item in placed])
    if budget >= len(values):
        return np.arange(len(values))
    return np.sort(np.argpartition(-values, budget)[:budget])


def _seen_significance(item: Placed, clip_from_world: F64) -> F32:
    """[N] significance in the world; outside the (widened) view negative, in the same order."""
    linear = item.world_from_object[:3, :3]
    area = np.float32(abs(np.linalg.det(linear)) ** (2 / 3))
    x, y, w = affine(item, clip_from_world[[0, 1, 3]]).T
    seen = (np.abs(x) <= WIDER * w) & (np.abs(y) <= WIDER * w)
    value = item.significance * area
    return np.where(seen, value, -1 / np.maximum(value, np.float32(1e-30))).astype(np.float32)
