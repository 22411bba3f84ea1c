# SPDX-License-Identifier: GPL-3.0-or-later
"""World positions <-> integers: coarse cells in Morton order, each refined as far as its Gaussian's size asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..splats.gaussians import F32

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
F64 = NDArray[np.float64]

MAX_CELL_BITS = 18
MAX_REFINEMENT = 4
CORE_QUANTILES = (0.05, 0.95)
TABLE_BITS = 18
BLOCK = 1 << 16
"""Positions that are worked on at a time: the steps between take several times the memory of the result."""


@dataclass(frozen=True)
class Grid:
    """u = asinh((x - centre) / radius) is even in the core and logarithmic far out; cells are cubes of u.

    Attributes:
        centre, radius: of the core, scene units.
        low: u where cell 0 begins, an axis each.
        cell: side of a cell, in u.
        bits: cells are below 2^bits along every axis.
        refinement: [R] descending log-scale integers: a Gaussian whose middle log-scale integer is at most r of them is cut r more times.
    """

    centre: tuple[float, float, float]
    radius: float
    low: tuple[float, float, float]
    cell: float
    bits: int
    refinement: tuple[int, ...]

    def contracted(self, means: F32) -> F64:
        """[N, 3] world -> [N, 3] in cells."""
        u = np.arcsinh((means.astype(np.float64) - self.centre) / self.radius)
        return (u - self.low) / self.cell

    def cuts(self, scales: NDArray[np.integer[Any]]) -> NDArray[np.int8]:
        """[N, 3] log-scale integers -> [N] how many bits an axis a position has below its cell."""
        middle = scales.sum(axis=1) - scales.max(axis=1) - scales.min(axis=1)
        count = np.zeros(len(scales), np.int8)
        for limit in self.refinement:
            count += middle <= limit
        return count

    def world_from_places(self, places: NDArray[np.integer[Any]], cuts: NDArray[np.int8]) -> F32:
        """Middles of the refined cells. places: [N, 3] cell << cuts | refinement; cuts: [N]."""
        finest = len(self.refinement) + 1
        index = (2 * places.astype(np.int64) + 1) << (finest - 1 - cuts.astype(np.int64))[:, None]
        world = np.empty(index.shape, np.float32)
        tabled = self.bits + finest <= TABLE_BITS and len(places) << 2 >= 1 << (self.bits + finest)
        for axis in range(3):
            if tabled:
                world[:, axis] = self._world(axis, np.arange(1 << (self.bits + finest)), finest).take(index[:, axis])
            else:
                world[:, axis] = self._world(axis, index[:, axis], finest)
        return world

    def _world(self, axis: int, index: I64, finest: int) -> F32:
        u = self.low[axis] + self.cell * (index / (1 << finest))
        return (np.sinh(u) * self.radius + self.centre[axis]).astype(np.float32)


def grid_for(means: F32, position_bits: float, refinement: tuple[int, ...], coarser: int) -> Grid:
    """A grid over the cloud whose cells, cut ``coarser`` times, are 2^-position_bits of the contracted extent."""
    if len(means) == 0:
        return Grid((0.0, 0.0, 0.0), 1.0, (0.0, 0.0, 0.0), 1.0, 1, refinement)
    sample = means[:: max(1, len(means) // 100_000)].astype(np.float64)
    first, last = np.quantile(sample, CORE_QUANTILES, axis=0)
    centre = (first + last) / 2
    radius = max(float((last - first).max()), 1e-9 * float(np.abs(centre).max()), 1e-12)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for start in range(0, len(means), BLOCK):
        u = np.arcsinh((means[start : start + BLOCK].astype(np.float64) - centre) / radius)
        low, high = np.minimum(low, u.min(axis=0)), np.maximum(high, u.max(axis=0))
    extent = max(float((high - low).max()), 1e-7)
    bits = int(np.clip(np.ceil(position_bits - coarser), 1, MAX_CELL_BITS))
    cell = max(extent * 2.0 ** (coarser - position_bits), extent * 1.000001 / (1 << bits))
    x, y, z = (float(v) for v in centre)
    a, b, c = (float(v) for v in low)
    return Grid((x, y, z), radius, (a, b, c), cell, bits, refinement)


def codes_from_cells(cells: NDArray[np.integer[Any]]) -> U64:
    """[N, 3] cells -> [N] Morton codes: bit b of x, y, z becomes bit 3b, 3b + 1, 3b + 2."""
    x, y, z = (_spread(cells[:, axis].astype(np.uint64)) for axis in range(3))
    return x | (y << np.uint64(1)) | (z << np.uint64(2))


def cells_from_codes(codes: U64) -> NDArray[np.int32]:
    """Inverse of :func:`codes_from_cells`."""
    cells = np.empty((len(codes), 3), np.int32)
    for axis in range(3):
        cells[:, axis] = _gather(codes >> np.uint64(axis))
    return cells


_STEPS = ((32, 0x1F00000000FFFF), (16, 0x1F0000FF0000FF), (8, 0x100F00F00F00F00F), (4, 0x10C30C30C30C30C3), (2, 0x1249249249249249))


def _spread(x: U64) -> U64:
    """Two zero bits after each of the low 21 bits."""
    for shift, mask in _STEPS:
        x = (x | (x << np.uint64(shift))) & np.uint64(mask)
    return x


def _gather(x: U64) -> U64:
    """Every third bit."""
    x = x & np.uint64(_STEPS[-1][1])
    for (shift, _), mask in zip(reversed(_STEPS), (*(m for _, m in reversed(_STEPS[:-1])), 0x1FFFFF), strict=True):
        x = (x | (x >> np.uint64(shift))) & np.uint64(mask)
    return x
