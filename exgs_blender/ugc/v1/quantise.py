# SPDX-License-Identifier: GPL-3.0-or-later
"""What the integers of version 1 stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...splats import Gaussians
from ...splats.activation import SH_C0, logit_from_opacity, unit_quats
from ...splats.gaussians import F32, SH_COEFFICIENTS

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

MAX_POSITION_BITS = 20
BASIS_ONE = 32767.0
"""Basis entries are stored as 16-bit integers over this."""


@dataclass(frozen=True)
class Steps:
    """Rounding steps.

    Attributes:
        position_bits: bits an axis over the contracted bounding cube, at most 20.
        scale: of natural log-scales.
        rotation: of Rodrigues components (a small angle a has length a / 2).
        opacity_levels: number of steps between opacity 0 and 1.
        colour: of the luma of 0..1 colour; chroma has 1.5 times it.
        sh: of the principal components of the higher SH coefficients, raw units.
    """

    position_bits: int
    scale: float
    rotation: float
    opacity_levels: int
    colour: float
    sh: float


@dataclass(frozen=True)
class Contraction:
    """World positions <-> the integer grid: u = asinh((x - centre) / radius), even in the core, logarithmic far out.

    ``low`` and ``step`` place the grid over u, for all axes alike but with one low each.
    """

    centre: tuple[float, float, float]
    radius: float
    low: tuple[float, float, float]
    step: float

    def world_from_grid(self, cells: I64) -> F32:
        u = cells * self.step + np.asarray(self.low)
        return (np.sinh(u) * self.radius + np.asarray(self.centre)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Quantised:
    """A cloud as integers, with what is needed to undo it.

    Attributes:
        cells: [N, 3] >= 0 and below 2^position_bits, in Morton order.
        scales, rotations, colours: [N, 3].
        opacities: [N], 0..opacity_levels.
        sh: [N, M] principal components; M may be 0.
        basis: [M, 3 (K - 1)] int16, rows over BASIS_ONE.
    """

    steps: Steps
    contraction: Contraction
    sh_degree: int
    cells: I64
    scales: I64
    rotations: I64
    opacities: I64
    colours: I64
    sh: I64
    basis: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.cells)


def dequantise(quantised: Quantised) -> Gaussians:
    """The cloud that a reader gets. Exactly the same wherever the integers are the same, to float32 rounding."""
    steps = quantised.steps
    vector = quantised.rotations.astype(np.float64) * steps.rotation
    quats = np.concatenate([np.ones((len(vector), 1)), vector], axis=1)
    half_step = 0.5 / steps.opacity_levels
    opacity = np.clip(quantised.opacities / steps.opacity_levels, half_step / 2, 1 - half_step / 2)
    luma_steps = np.array([1.0, 1.5, 1.5]) * steps.colour
    basis = quantised.basis.astype(np.float32) * np.float32(steps.sh / BASIS_ONE)
    rest = SH_COEFFICIENTS[quantised.sh_degree] - 1
    return Gaussians(
        means=quantised.contraction.world_from_grid(quantised.cells),
        quats=unit_quats(quats.astype(np.float32)),
        scales=(quantised.scales * steps.scale).astype(np.float32),
        opacities=logit_from_opacity(opacity.astype(np.float32)),
        sh0=_sh0_from_ycocg(quantised.colours * luma_steps)[:, None],
        shN=(quantised.sh.astype(np.float32) @ basis).reshape(len(quantised), rest, 3),
    )


def cells_from_codes(codes: NDArray[np.uint64]) -> I64:
    """[N] Morton codes -> [N, 3] cells: bit b of x, y, z is bit 3b, 3b + 1, 3b + 2."""
    cells = np.zeros((len(codes), 3), np.uint64)
    for bit in range(MAX_POSITION_BITS):
        for axis in range(3):
            cells[:, axis] |= ((codes >> np.uint64(3 * bit + axis)) & np.uint64(1)) << np.uint64(bit)
    return cells.astype(np.int64)


def _sh0_from_ycocg(ycocg: F64) -> F32:
    y, co, cg = ycocg.T
    return ((np.stack([y + co - cg, y + cg, y - co - cg], axis=1) - 0.5) / SH_C0).astype(np.float32)
