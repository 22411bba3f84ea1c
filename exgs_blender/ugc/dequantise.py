# SPDX-License-Identifier: GPL-3.0-or-later
"""Integers -> Gaussians, the inverse of ``quantise``. See docs/exgs-format.md."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..splats import Gaussians
from ..splats.activation import SH_C0, logit_from_opacity
from ..splats.gaussians import F32, unfilled
from .compiled import in_slices, kernels_for
from .quantise import CHROMA, Quantised
from .rotations import ROUND, quats_from_rodrigues, rotation_steps, widened_extents
from .spherical import harmonics_from_components

Fields = dict[str, F32]


def dequantise(quantised: Quantised) -> Gaussians:
    """The cloud that a reader gets. The same wherever the integers are the same, to float32 rounding."""
    count = len(quantised)
    gaussians = unfilled(count, quantised.sh_degree)
    fields = dict(gaussians.arrays())
    kernels = kernels_for(count)
    geometry = _geometry if kernels is None else partial(_geometry_compiled, kernels)
    logits, back, grey = _logits(quantised.steps.opacity_levels), _sh0_from_ycocg(quantised.steps.colour), np.float32(-0.5 / SH_C0)

    def work(part: slice) -> None:
        here = {name: values[part] for name, values in fields.items()}
        geometry(quantised, part, here)
        np.take(logits, quantised.opacities[part], out=here["opacities"], mode="clip")
        if kernels is None:
            here["sh0"][:, 0] = quantised.colours[part].astype(np.float32) @ back + grey
        else:
            kernels.fill_colours(_columns(quantised.colours[part]), back, grey, here["sh0"][:, 0])
        flat = here["shN"].reshape(part.stop - part.start, 3 * gaussians.shN.shape[1])
        harmonics_from_components(quantised.sh[part], quantised.basis, quantised.steps.sh, flat)

    in_slices(work, count)
    return gaussians


def _geometry(q: Quantised, part: slice, fields: Fields) -> None:
    """Fill means, quats and scales."""
    scales = q.scales[part]
    cuts = q.grid.cuts(scales)
    fields["means"][:] = q.grid.world_from_places((q.cells[part] << cuts[:, None]) | q.offsets[part], cuts)
    fields["quats"][:] = quats_from_rodrigues(q.rotations[part] * rotation_steps(scales, q.steps.scale, q.pixel, q.steps.rotation))
    fields["scales"][:] = scales * np.float32(q.steps.scale)


def _geometry_compiled(kernels: Any, q: Quantised, part: slice, fields: Fields) -> None:
    """The twin of :func:`_geometry`."""
    grid, scales = q.grid, _columns(q.scales[part])
    cuts = np.empty(scales.shape[1], np.int8)
    kernels.count_cuts(scales, np.array(grid.refinement, np.int64), cuts)
    low, centre, finest = np.array(grid.low), np.array(grid.centre), len(grid.refinement) + 1
    cells, offsets = np.ascontiguousarray(q.cells[part]), np.ascontiguousarray(q.offsets[part])
    kernels.fill_means(cells, offsets, cuts, low, grid.cell, finest, grid.radius, centre, fields["means"])
    extents, lowest = widened_extents(q.scales[part], q.steps.scale, q.pixel)
    step, turn, roundness = np.float32(q.steps.scale), np.float32(q.steps.rotation), np.float32(ROUND)
    kernels.fill_shapes(scales, _columns(q.rotations[part]), step, turn, roundness, extents, lowest, fields["quats"], fields["scales"])


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
