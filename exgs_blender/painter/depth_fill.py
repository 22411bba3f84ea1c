# SPDX-License-Identifier: GPL-3.0-or-later
"""Depth for pixels that the painter covered where the render had nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..splats.gaussians import F32

F64 = NDArray[np.float64]

TRUSTED_ALPHA = 1e-3
"""Below this coverage the rasterizer's expected depth is a quotient of tiny numbers."""
LEVELS = 6


def fill_depth(depth: F32, alpha: F32, painted: F32) -> F32:
    """Depth [H, W] with values where ``painted`` alpha [H, W] covers what ``alpha`` [H, W] did not.

    Known depths stay untouched. A missing one is the mean over the nearest known neighbourhood, weighted by coverage, found
    on a pyramid of 2 x 2 sums (pull-push). Farther than 2^LEVELS pixels from any known depth it stays 0.
    """
    known = (alpha >= TRUSTED_ALPHA) & (depth > 0) & np.isfinite(depth)
    missing = ~known & (painted >= TRUSTED_ALPHA)
    if not missing.any() or not known.any():
        return depth
    weight = np.where(known, alpha, 0.0).astype(np.float64)
    estimate = _pull_push(np.where(known, depth, 0.0) * weight, weight, LEVELS)
    return np.where(missing & (estimate > 0), estimate, depth).astype(np.float32)


def _pull_push(weighted: F64, weight: F64, levels: int) -> F64:
    """weighted / weight where there is weight, else the value of the next coarser level; 0 where no level has any."""
    own = np.divide(weighted, weight, out=np.zeros_like(weighted), where=weight > 0)
    if levels == 0 or bool((weight > 0).all()):
        return own
    coarse = np.stack([_halved(weighted), _halved(weight)])
    below = _pull_push(coarse[0], coarse[1], levels - 1)
    height, width = weight.shape
    enlarged = below.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(weight > 0, own, enlarged)


def _halved(plane: F64) -> F64:
    """[H, W] -> [ceil(H / 2), ceil(W / 2)], sums of 2 x 2."""
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)))
    return np.asarray(even.reshape((height + 1) // 2, 2, (width + 1) // 2, 2).sum(axis=(1, 3)))
