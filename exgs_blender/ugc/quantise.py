# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians <-> integers: what each attribute is rounded to.

All steps are uniform in a domain where equal errors look about equally bad: contracted positions, log-scales,
Rodrigues vectors, opacity, YCoCg colour, principal components of the higher spherical harmonics.
The entropy coder then charges for what the integers really hold, so a step is the only knob of an attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..splats import Gaussians
from ..splats.activation import SH_C0, logit_from_opacity, opacity_from_logit, unit_quats
from ..splats.gaussians import F32, SH_COEFFICIENTS

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

MAX_POSITION_BITS = 20
CORE_QUANTILES = (0.05, 0.95)
BASIS_ONE = 32767.0
"""Basis entries are stored as 16-bit integers over this."""


@dataclass(frozen=True)
class Steps:
    """Rounding steps; the defaults are the best found for a ratio of 100, measured on scored views of three captures.

    Attributes:
        position_bits: bits an axis over the contracted bounding cube, at most 20.
        scale: of natural log-scales.
        rotation: of Rodrigues components (a small angle a has length a / 2).
        opacity_levels: number of steps between opacity 0 and 1.
        colour: of the luma of 0..1 colour; chroma has 1.5 times it.
        sh: of the principal components of the higher SH coefficients, raw units.
    """

    position_bits: int = 13
    scale: float = 0.18
    rotation: float = 0.04
    opacity_levels: int = 40
    colour: float = 0.011
    sh: float = 0.075


NEAR_LOSSLESS = Steps(position_bits=18, scale=0.01, rotation=0.002, opacity_levels=1023, colour=1 / 1024, sh=0.004)


@dataclass(frozen=True)
class Contraction:
    """World positions <-> the integer grid: u = asinh((x - centre) / radius), even in the core, logarithmic far out.

    ``low`` and ``step`` place the grid over u, for all axes alike but with one low each.
    """

    centre: tuple[float, float, float]
    radius: float
    low: tuple[float, float, float]
    step: float

    def grid_from_world(self, means: F32) -> I64:
        u = np.arcsinh((means.astype(np.float64) - self.centre) / self.radius)
        return np.rint((u - self.low) / self.step).astype(np.int64)

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


def quantise(gaussians: Gaussians, steps: Steps) -> Quantised:
    """Round a cloud; the result is sorted along the Morton curve of its rounded positions."""
    contraction = _contraction_of(gaussians.means, steps.position_bits)
    cells = contraction.grid_from_world(gaussians.means)
    order = np.argsort(codes_from_cells(cells), kind="stable")
    ordered = gaussians.select(order)
    rodrigues, scales = canonical_rotations(ordered.quats, ordered.scales)
    opacity = opacity_from_logit(ordered.opacities).astype(np.float64)
    sh, basis = _principal_components(ordered.shN, steps.sh)
    luma_steps = np.array([1.0, 1.5, 1.5]) * steps.colour
    return Quantised(
        steps=steps,
        contraction=contraction,
        sh_degree=gaussians.sh_degree,
        cells=cells[order],
        scales=np.rint(scales / steps.scale).astype(np.int64),
        rotations=np.rint(rodrigues / steps.rotation).astype(np.int64),
        opacities=np.rint(opacity * steps.opacity_levels).astype(np.int64),
        colours=np.rint(_ycocg_from_sh0(ordered.sh0[:, 0]) / luma_steps).astype(np.int64),
        sh=sh,
        basis=basis,
    )


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


def codes_from_cells(cells: I64) -> NDArray[np.uint64]:
    """[N, 3] grid cells -> [N] Morton codes: bit b of x, y, z becomes bit 3b, 3b + 1, 3b + 2."""
    code = np.zeros(len(cells), np.uint64)
    for bit in range(MAX_POSITION_BITS):
        for axis in range(3):
            code |= ((cells[:, axis].astype(np.uint64) >> np.uint64(bit)) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return code


def cells_from_codes(codes: NDArray[np.uint64]) -> I64:
    """Inverse of :func:`codes_from_cells`."""
    cells = np.zeros((len(codes), 3), np.uint64)
    for bit in range(MAX_POSITION_BITS):
        for axis in range(3):
            cells[:, axis] |= ((codes >> np.uint64(3 * bit + axis)) & np.uint64(1)) << np.uint64(bit)
    return cells.astype(np.int64)


def canonical_rotations(quats: F32, log_scales: F32) -> tuple[F64, F64]:
    """(Rodrigues vectors [N, 3], log-scales [N, 3]) of the same ellipsoids, with the smallest rotation.

    The axes of an ellipsoid may be relabelled in 24 ways (the rotations of a cube) if the scales go along. The smallest
    rotation has every component of tan(angle / 2) * axis within sqrt(2) - 1, which saves log2(24) bits.
    """
    group, permutations = _cube_group()
    unit = unit_quats(quats).astype(np.float64)
    conjugate = group * np.array([1.0, -1.0, -1.0, -1.0])
    best = np.argmax(np.abs(unit @ conjugate.T), axis=1)  # real part of q * g
    turned = _multiply(unit, group[best])
    vector = turned[:, 1:] / turned[:, :1]
    return vector, np.take_along_axis(log_scales.astype(np.float64), permutations[best], axis=1)


@cache
def _cube_group() -> tuple[F64, I64]:
    """The 24 rotations of a cube as quaternions [24, 4], and which old axis each new axis is [24, 3]."""
    found: list[F64] = []
    for entries in product((-1.0, 0.0, 1.0), repeat=4):
        q = np.array(entries)
        norm2 = float(q @ q)
        if norm2 in (1.0, 2.0, 4.0) and all(abs(float(q @ other)) / np.sqrt(norm2) < 0.999 for other in found):
            found.append(q / np.sqrt(norm2))
    group = np.array(found)
    axes = np.stack([_multiply(_multiply(group, np.eye(4)[None, 1 + a]), group * np.array([1, -1, -1, -1.0])) for a in range(3)], axis=1)
    return group, np.argmax(np.abs(axes[:, :, 1:]), axis=2)


def _multiply(a: F64, b: F64) -> F64:
    """Hamilton product of [N, 4] wxyz."""
    aw, ax, ay, az = a.T
    bw, bx, by, bz = b.T
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=1,
    )


def _contraction_of(means: F32, bits: int) -> Contraction:
    if len(means) == 0:
        return Contraction((0.0, 0.0, 0.0), 1.0, (0.0, 0.0, 0.0), 1.0)
    sample = means[:: max(1, len(means) // 100_000)].astype(np.float64)
    first, last = np.quantile(sample, CORE_QUANTILES, axis=0)
    centre = (first + last) / 2
    radius = max(float((last - first).max()), 1e-9 * float(np.abs(centre).max()), 1e-12)
    u = np.arcsinh((means.astype(np.float64) - centre) / radius)
    low = u.min(axis=0)
    step = max(float((u.max(axis=0) - low).max()) / (2**bits - 1), 1e-9)
    x, y, z = (float(v) for v in centre)
    a, b, c = (float(v) for v in low)
    return Contraction((x, y, z), radius, (a, b, c), step)


def _ycocg_from_sh0(sh0: F32) -> F64:
    """[N, 3] degree-0 coefficients -> luma, orange and green difference of the 0..1 colour."""
    r, g, b = (0.5 + SH_C0 * sh0.astype(np.float64)).T
    return np.stack([(r + 2 * g + b) / 4, (r - b) / 2, (2 * g - r - b) / 4], axis=1)


def _sh0_from_ycocg(ycocg: F64) -> F32:
    y, co, cg = ycocg.T
    return ((np.stack([y + co - cg, y + cg, y - co - cg], axis=1) - 0.5) / SH_C0).astype(np.float32)


def _principal_components(shN: F32, step: float) -> tuple[I64, NDArray[np.int16]]:
    """Rounded components [N, M] in an orthonormal basis [M, 3 (K - 1)]; components that round to nothing are left out."""
    flat = shN.reshape(len(shN), shN.shape[1] * 3)
    if flat.size == 0:
        return np.zeros((len(shN), 0), np.int64), np.zeros((0, flat.shape[1]), np.int16)
    _, vectors = np.linalg.eigh((flat.T @ flat).astype(np.float64))
    vectors = vectors[:, ::-1]
    basis = np.rint(vectors.T * BASIS_ONE).astype(np.int16)
    components = np.rint(flat @ (vectors / step).astype(np.float32)).astype(np.int64)
    used = components.any(axis=0)
    return components[:, used], basis[used]
