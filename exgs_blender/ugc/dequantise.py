# SPDX-License-Identifier: GPL-3.0-or-later
"""Integers -> Gaussians, the inverse of ``quantise``. See docs/exgs-format.md."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..splats import Gaussians
from ..splats.activation import SH_C0, logit_from_opacity
from ..splats.gaussians import F32, unfilled
from .compiled import kernels_for, side_by_side
from .layer_coding import parts_of
from .quantise import CHROMA, Quantised, select_rows
from .rotations import ROUND, quats_from_rodrigues, rotation_steps, widened_extents
from .spherical import harmonics_from_components

Fields = dict[str, F32]


def dequantise(quantised: Quantised) -> Gaussians:
    """The cloud that a reader gets. The same wherever the integers are the same, to float32 rounding."""
    gaussians = unfilled(len(quantised), quantised.sh_degree)
    parts = [part for layer in parts_of(quantised.layers) for part in layer]
    side_by_side(lambda part: fill(gaussians, part, select_rows(quantised, part)), parts, len(quantised))
    return gaussians


def fill(gaussians: Gaussians, part: slice, quantised: Quantised) -> None:
    """Write the Gaussians of a part of a cloud, which ``quantised`` holds alone, to their place in the whole one."""
    here = {name: values[part] for name, values in gaussians.arrays()}
    kernels = kernels_for(len(gaussians))
    back, grey = _sh0_from_ycocg(quantised.steps.colour), np.float32(-0.5 / SH_C0)
    if kernels is None:
        _geometry(quantised, here)
        here["sh0"][:, 0] = quantised.colours.astype(np.float32) @ back + grey
    else:
        _geometry_compiled(kernels, quantised, here)
        kernels.fill_colours(_columns(quantised.colours), back, grey, here["sh0"][:, 0])
    np.take(_logits(quantised.steps.opacity_levels), quantised.opacities, out=here["opacities"], mode="clip")
    flat = here["shN"].reshape(len(quantised), 3 * gaussians.shN.shape[1])
    harmonics_from_components(quantised.sh, quantised.basis, quantised.steps.sh, flat)


def _geometry(q: Quantised, fields: Fields) -> None:
    """Fill means, quats and scales."""
    cuts = q.grid.cuts(q.scales)
    fields["means"][:] = q.grid.world_from_places((q.cells << cuts[:, None]) | q.offsets, cuts)
    fields["quats"][:] = quats_from_rodrigues(q.rotations * rotation_steps(q.scales, q.steps.scale, q.pixel, q.steps.rotation))
    fields["scales"][:] = q.scales * np.float32(q.steps.scale)


def _geometry_compiled(kernels: Any, q: Quantised, fields: Fields) -> None:
    """The twin of :func:`_geometry`."""
    grid, scales = q.grid, _columns(q.scales)
    cuts = np.empty(scales.shape[1], np.int8)
    kernels.count_cuts(scales, np.array(grid.refinement, np.int64), cuts)
    low, centre, finest = np.array(grid.low), np.array(grid.centre), len(grid.refinement) + 1
    cells, offsets = np.ascontiguousarray(q.cells), np.ascontiguousarray(q.offsets)
    kernels.fill_means(cells, offsets, cuts, low, grid.cell, finest, grid.radius, centre, fields["means"])
    extents, lowest = widened_extents(q.scales, q.steps.scale, q.pixel)
    step, turn, roundness = np.float32(q.steps.scale), np.float32(q.steps.rotation), np.float32(ROUND)
    kernels.fill_shapes(scales, _columns(q.rotations), step, turn, roundness, extents, lowest, fields["quats"], fields["scales"])


def _columns(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """[n, 3] -> [3, n], contiguous: a copy unless the values come from the decoder."""
    return np.ascontiguousarray(values.T)


def _logits(levels: int) -> F32:
    """[levels + 1] logit opacities; the ends are drawn in by a quarter of a step."""
    quarter = 0.25 / levels
    opacity = np.clip(np.arange(levels + 1) / levels, quarter, 1 - quarter)
    return logit_from_opacity(opacity.astype(np.float32))


def _sh0_from_ycocg(step: float) -> F32:
    """[3, 3] rounded YCoCg -> degree-0 coefficients, but for the 0.5 that colours are shifted by."""
    c = CHROMA
    back = np.array([[1, 1, 1], [c, 0, -c], [-c, c, -c]]) * (step / SH_C0)
    return back.astype(np.float32)
