# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh of the zero level of a sampled field: naive surface nets (S. Gibson, "Constrained Elastic Surface Nets", 1998)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .gaussians import F32

I32 = NDArray[np.int32]
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(CORNERS[a] - CORNERS[b]).sum() == 1]


def surface_nets(field: F32, known: NDArray[np.bool_]) -> tuple[F32, I32]:
    """The surface where a field changes its sign.

    A cell gets one vertex, the mean of where its edges cross zero; an edge that crosses joins the vertices of its four cells to
    a quad. Cells with an unknown corner have no vertex, so the mesh is open where nothing is known.

    Args:
        field: [X, Y, Z] samples, positive outside.
        known: [X, Y, Z].

    Returns:
        vertices [V, 3] in units of samples, and quads [Q, 4], counter-clockwise as seen from outside.
    """
    inside = field < 0
    cells = tuple(size - 1 for size in field.shape)
    corner_inside = np.stack([_corner(inside, corner, cells) for corner in CORNERS])
    whole = np.logical_and.reduce([_corner(known, corner, cells) for corner in CORNERS])
    active = whole & corner_inside.any(axis=0) & ~corner_inside.all(axis=0)
    where = np.argwhere(active)
    numbers = np.full(cells, -1, np.int32)
    numbers[active] = np.arange(len(where), dtype=np.int32)
    vertices = _vertices(np.stack([_corner(field, corner, cells)[active] for corner in CORNERS], axis=1), where)
    return vertices, np.concatenate([_quads(inside, numbers, axis) for axis in range(3)])


def _corner(values: NDArray[np.generic], corner: NDArray[np.int64], cells: tuple[int, ...]) -> NDArray[np.generic]:
    """The values at one corner of every cell."""
    return values[tuple(slice(int(at), int(at) + count) for at, count in zip(corner, cells, strict=True))]


def _vertices(values: NDArray[np.generic], where: NDArray[np.int64]) -> F32:
    """[n, 8] corner values and [n, 3] cells -> [n, 3]."""
    total, count = np.zeros((len(where), 3)), np.zeros((len(where), 1))
    for a, b in EDGES:
        first, second = values[:, a].astype(np.float64), values[:, b].astype(np.float64)
        crosses = (first < 0) != (second < 0)
        share = np.where(crosses, first / np.where(crosses, first - second, 1.0), 0.0)[:, None]
        total += crosses[:, None] * (CORNERS[a] + share * (CORNERS[b] - CORNERS[a]))
        count += crosses[:, None]
    return (where + total / np.maximum(count, 1)).astype(np.float32)


def _quads(inside: NDArray[np.bool_], numbers: I32, axis: int) -> I32:
    """The quads around the edges along one axis that have all four cells."""
    along = np.moveaxis(inside, axis, 0)
    cells = np.moveaxis(numbers, axis, 0)  # [edges along the axis, cells, cells] in the axes' cyclic or swapped order
    first, second = along[:-1, 1:-1, 1:-1], along[1:, 1:-1, 1:-1]
    around = np.stack([cells[:, :-1, :-1], cells[:, 1:, :-1], cells[:, 1:, 1:], cells[:, :-1, 1:]], axis=-1)
    crosses = (first != second) & (around >= 0).all(axis=-1)
    quads, leaving = around[crosses], first[crosses]
    if axis == 1:  # moved to the front it swaps the hand of the other two
        leaving = ~leaving
    quads[~leaving] = quads[~leaving][:, ::-1]
    return quads
