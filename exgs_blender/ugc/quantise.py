# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians -> integers: what each attribute is rounded to.

Steps are uniform in a domain where equal errors look about equally bad: contracted positions cut finer for smaller Gaussians,
log-scales, Rodrigues vectors with a step per axis from the extents, opacity, YCoCg colour, principal components of the
higher spherical harmonics. The entropy coder then charges for what the integers really hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError
from ..splats import Gaussians
from ..splats.activation import SH_C0, opacity_from_logit
from ..splats.gaussians import F32
from .grid import MAX_REFINEMENT, Grid, codes_from_cells, grid_for
from .rotations import canonical_rotations, rotation_steps
from .spherical import components_of

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

BLOCK = 1 << 16
"""Gaussians that are rounded at a time: the steps between take several times the memory of the result."""
COARSER = 2
"""Bits an axis that a middling Gaussian's cell is cut; the largest are not cut, the smallest ``MAX_REFINEMENT`` times."""
SIZE_POWER = 0.75
"""A position's step grows with this power of its Gaussian's middle extent; measured (1/2 to 1 are alike within 0.2 dB)."""
PIXEL_SHARE = 0.5
"""Extents are widened by this share of the median middle extent, about a pixel's footprint in the captures measured."""
CHROMA = 1.5
"""Steps of the colour differences over that of luma."""
LAYERS = ((100_000, (0.1, 0.3)), (1_000, (0.25,)), (0, ()))
"""(From this many Gaussians, shares of the layers but the last). Two layers cost -0.3 to 1.1 % of a small file, three 0 to 2.4 %."""


@dataclass(frozen=True)
class Steps:
    """Rounding steps; the named ones below are those where a bit buys about equally much in every attribute.

    Attributes:
        position_bits: bits an axis over the contracted bounding cube for a Gaussian of middling size; 3 to 20, any real number.
        scale: of natural log-scales.
        rotation: of Rodrigues components (a small angle a has length a / 2) where two extents differ by a factor of 1.6.
        opacity_levels: number of steps between opacity 0 and 1.
        colour: of the luma of 0..1 colour; chroma has 1.5 times it.
        sh: of the principal components of the higher SH coefficients, raw units.
        sh_trade: squared SH steps that a bit is worth: 0 rounds to the nearest, more drops what the bits do not pay for.
    """

    position_bits: float = 11.3
    scale: float = 0.15
    rotation: float = 0.124
    opacity_levels: int = 21
    colour: float = 0.0131
    sh: float = 0.084
    sh_trade: float = 0.1


EXTREME = Steps(10.3, scale=0.2, rotation=0.17, opacity_levels=15, colour=0.0185, sh=0.135)
BALANCED = Steps()
FINE = Steps(14.0, scale=0.057, rotation=0.046, opacity_levels=73, colour=0.0041, sh=0.0293)
NEAR_LOSSLESS = Steps(18.0, scale=0.01, rotation=0.006, opacity_levels=1023, colour=1 / 1024, sh=0.004, sh_trade=0.0)
LEVELS = (EXTREME, BALANCED, FINE, NEAR_LOSSLESS)
"""Tuned on four captures, merged to a hundredth and to a tenth, until the error that a byte saves was about equal for all attributes
on the scored views; how coarse each level is, by what files of equal size came to: rounding less against keeping more Gaussians."""


def steps_for_quality(quality: float) -> Steps:
    """Steps between the named ones: 0 is EXTREME, 1 BALANCED, 2 FINE, 3 NEAR_LOSSLESS; every step on a geometric line.

    Raises:
        ExgsError: ``quality`` is not from 0 to 3.
    """
    if not 0.0 <= quality <= len(LEVELS) - 1:
        raise ExgsError(f"quality is {quality}, expected 0 to {len(LEVELS) - 1}")
    below = min(int(quality), len(LEVELS) - 2)
    a, b, share = LEVELS[below], LEVELS[below + 1], quality - below
    mixed = {name: getattr(a, name) ** (1 - share) * getattr(b, name) ** share for name in ("scale", "rotation", "colour", "sh")}
    return Steps(
        position_bits=(1 - share) * a.position_bits + share * b.position_bits,
        opacity_levels=round(a.opacity_levels ** (1 - share) * b.opacity_levels**share),
        sh_trade=(1 - share) * a.sh_trade + share * b.sh_trade,
        **mixed,
    )


@dataclass(frozen=True, eq=False)
class Quantised:
    """A cloud as integers, with what is needed to undo it. Layers, the most significant first, each in Morton order.

    Attributes:
        layers: Gaussians in each layer.
        pixel: what widens extents where a rotation's step is found, scene units.
        cells: [N, 3] >= 0 and below 2^grid.bits; Morton order is theirs.
        offsets: [N, 3] place within the cell, below 2^cuts.
        scales, rotations, colours: [N, 3].
        opacities: [N], 0..opacity_levels.
        sh: [N, M] principal components, int16 where they fit; M may be 0.
        basis: [M, 3 (K - 1)] int8, rows stand for unit vectors.
    """

    steps: Steps
    grid: Grid
    pixel: float
    sh_degree: int
    layers: tuple[int, ...]
    cells: I32
    offsets: I32
    scales: I32
    rotations: I32
    opacities: I32
    colours: I32
    sh: I32
    basis: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.cells)


def quantise(gaussians: Gaussians, steps: Steps, weight: F32 | None = None) -> Quantised:
    """Round a cloud and sort it into layers.

    Args:
        weight: [N] what each Gaussian adds to the images that matter (``BlendStatistics.weight_sum``); guides the rounding of
            view-dependent colour. Without it all count alike.
    """
    return _quantised(gaussians, steps, weight)[0]


def quantise_with_order(gaussians: Gaussians, steps: Steps, weight: F32 | None = None) -> tuple[Quantised, NDArray[np.int64]]:
    """As :func:`quantise`, and [N] which Gaussian of the input each of the result is."""
    return _quantised(gaussians, steps, weight)


def requantise(quantised: Quantised, gaussians: Gaussians, weight: F32 | None = None) -> Quantised:
    """The same geometry, order and layers with the opacities and colours of ``gaussians``, given in the order of ``dequantise``.

    Raises:
        ExgsError: another number of Gaussians, or another SH degree.
    """
    if len(gaussians) != len(quantised) or gaussians.sh_degree != quantised.sh_degree:
        raise ExgsError(
            f"cannot re-quantise {len(quantised)} Gaussians of SH degree {quantised.sh_degree} "
            f"with {len(gaussians)} of degree {gaussians.sh_degree}"
        )
    return replace(quantised, **_look(gaussians, np.arange(len(gaussians)), quantised.steps, weight))


def select_layers(quantised: Quantised, count: int) -> Quantised:
    """The first ``count`` layers alone."""
    layers = quantised.layers[:count]
    return replace(select_rows(quantised, slice(0, sum(layers))), layers=layers)


def select_rows(quantised: Quantised, part: slice) -> Quantised:
    """A run of Gaussians alone, as one layer."""
    names = ("cells", "offsets", "scales", "rotations", "opacities", "colours", "sh")
    return replace(quantised, layers=(part.stop - part.start,), **{name: getattr(quantised, name)[part] for name in names})


def _quantised(gaussians: Gaussians, steps: Steps, weight: F32 | None) -> tuple[Quantised, I64]:
    count = len(gaussians)
    blocks = [slice(start, start + BLOCK) for start in range(0, count, BLOCK)]
    rodrigues, log_scales = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    middles = np.empty(count, np.float32)
    for block in blocks:
        rodrigues[block], log_scales[block] = canonical_rotations(gaussians.quats[block], gaussians.scales[block])
        middles[block] = np.median(log_scales[block], axis=1)
    middle = float(np.exp(np.median(middles))) if count else 1.0
    pixel = PIXEL_SHARE * middle
    grid = grid_for(gaussians.means, steps.position_bits, _refinement(middle, pixel, steps.scale), COARSER)
    fields: dict[str, Any] = {name: np.empty((count, 3), np.int32) for name in ("scales", "cells", "offsets", "rotations")}
    for block in blocks:
        scales = fields["scales"][block]
        scales[:] = np.rint(log_scales[block].astype(np.float64) / steps.scale)
        fields["cells"][block], fields["offsets"][block] = _places(grid, gaussians.means[block], scales)
        fields["rotations"][block] = np.rint(rodrigues[block] / rotation_steps(scales, steps.scale, pixel, steps.rotation))
    del rodrigues, log_scales, middles
    layer, layers = _layers(gaussians)
    order = np.lexsort((codes_from_cells(fields["cells"]), layer))
    for name in fields:
        fields[name] = fields[name][order]
    quantised = Quantised(
        steps=steps,
        grid=grid,
        pixel=pixel,
        sh_degree=gaussians.sh_degree,
        layers=layers,
        **fields,
        **_look(gaussians, order, steps, None if weight is None else weight[order]),
    )
    return quantised, order


def _places(grid: Grid, means: F32, scales: I32) -> tuple[I64, I64]:
    """[n, 3] each: cells, and places within them."""
    cuts = grid.cuts(scales).astype(np.int64)[:, None]
    place = np.floor(grid.contracted(means) * (1 << cuts)).astype(np.int64)
    place = np.clip(place, 0, ((1 << grid.bits) << cuts) - 1)
    cells = place >> cuts
    return cells, place - (cells << cuts)


def _look(gaussians: Gaussians, order: I64, steps: Steps, weight: F32 | None) -> dict[str, Any]:
    """What is not geometry, rounded, in another order; ``weight`` is in it already."""
    opacities, colours = np.empty(len(order), np.int32), np.empty((len(order), 3), np.int32)
    for start in range(0, len(order), BLOCK):
        block = slice(start, start + BLOCK)
        opacity = opacity_from_logit(gaussians.opacities[order[block]]).astype(np.float64)
        opacities[block] = np.rint(opacity * steps.opacity_levels)
        ycocg = _ycocg_from_sh0(gaussians.sh0[order[block], 0])
        colours[block] = np.rint(ycocg / (steps.colour * np.array([1.0, CHROMA, CHROMA])))
    sh, basis = components_of(gaussians.shN, order, steps.sh, steps.sh_trade, weight)
    return {"opacities": opacities, "colours": colours, "sh": sh, "basis": basis}


def _layers(gaussians: Gaussians) -> tuple[NDArray[np.int8], tuple[int, ...]]:
    """([N] layer of each Gaussian, sizes): opaque and large ones first. Costs nothing: sizes within a layer are alike, and code shorter."""
    count = len(gaussians)
    if count == 0:
        return np.zeros(0, np.int8), ()
    shares = next(shares for least, shares in LAYERS if count >= least)
    sizes = [int(share * count) for share in shares]
    sizes.append(count - sum(sizes))
    two_largest = gaussians.scales.sum(axis=1) - gaussians.scales.min(axis=1)
    significance = np.log(np.maximum(opacity_from_logit(gaussians.opacities), 1e-6)) + two_largest
    layer = np.empty(count, np.int8)
    layer[np.argsort(-significance, kind="stable")] = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
    return layer, tuple(sizes)


def _refinement(middle: float, pixel: float, scale_step: float) -> tuple[int, ...]:
    """The limits of ``Grid.refinement``: the widened extent halves a position's step with every 2^(1 / SIZE_POWER)."""
    typical = np.hypot(middle, pixel)
    limits = []
    for cut in range(1, MAX_REFINEMENT + 1):
        widest = typical * 2.0 ** ((COARSER - cut + 0.5) / SIZE_POWER)
        bare = np.sqrt(max(widest**2 - pixel**2, 1e-60))
        limits.append(int(np.floor(np.log(bare) / scale_step)))
    return tuple(limits)


def _ycocg_from_sh0(sh0: F32) -> NDArray[np.float64]:
    """[N, 3] degree-0 coefficients -> luma, orange and green difference of the 0..1 colour."""
    r, g, b = (0.5 + SH_C0 * sh0.astype(np.float64)).T
    return np.stack([(r + 2 * g + b) / 4, (r - b) / 2, (2 * g - r - b) / 4], axis=1)
