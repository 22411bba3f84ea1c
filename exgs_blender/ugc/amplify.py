# SPDX-License-Identifier: GPL-3.0-or-later
"""Adaptive amplification: what is left grows to cover what went.

The paper predicts the amplification with a small network that is not released. Here it is closed-form and local, with one
strength for the whole cloud that a search measures on the scored views (or a default where there is no renderer).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.gaussians import F32
from .prune import I64, default_edge, voxels_of

RenderError = Callable[[Gaussians], float]
"""Mean squared error of a candidate against the source over the scored views (not over those that judge)."""

LOCAL_GRID_FACTOR = 2.0
MAX_LOG_LOSS = float(np.log(64.0))
DEFAULT_STRENGTH = 0.2
GOLDEN = (np.sqrt(5.0) - 1) / 2


def local_loss(means: F32, weight: F32, kept: I64, edge: float | None = None) -> F32:
    """[M] logarithm of (weight of the voxel / weight of its survivors) at each kept Gaussian, smoothed towards the whole cloud's.

    Args:
        means: [N, 3] of the unpruned cloud.
        weight: [N] rendered weight.
        kept: [M] indices of the survivors.
        edge: voxel edge; twice the sampling's by default.
    """
    voxel = voxels_of(means, edge if edge is not None else LOCAL_GRID_FACTOR * default_edge(means))
    count = int(voxel.max()) + 1 if len(voxel) else 0
    before = np.bincount(voxel, weight, count)
    after = np.bincount(voxel[kept], weight[kept], count)
    overall = before.sum() / max(after.sum(), 1e-30)
    prior = 0.1 * before.mean() if count else 0.0
    ratio = (before + prior * overall) / np.maximum(after + prior, 1e-30)
    return np.clip(np.log(np.maximum(ratio[voxel[kept]], 1.0)), 0.0, MAX_LOG_LOSS).astype(np.float32)


def amplify(survivors: Gaussians, log_growth: F32 | float) -> Gaussians:
    """Scale the survivors' standard deviations by exp(log_growth), [M] or one number."""
    growth = np.broadcast_to(np.asarray(log_growth, np.float32), (len(survivors),))
    return replace(survivors, scales=survivors.scales + growth[:, None])


def search_growth(error: Callable[[float], float], high: float, evaluations: int = 9, report: Report = silent) -> tuple[float, float]:
    """(argument, error) of the smallest error that a golden-section search over 0..high finds; 0 is always tried."""
    tried = {0.0: error(0.0)}
    a, b = 0.0, high
    x1, x2 = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
    for step in range(evaluations - 1):
        for x in (x1, x2):
            if x not in tried:
                tried[x] = error(x)
                break
        else:
            if tried[x1] < tried[x2]:
                b, x2 = x2, x1
                x1 = b - GOLDEN * (b - a)
            else:
                a, x1 = x1, x2
                x2 = a + GOLDEN * (b - a)
            new = x1 if x1 not in tried else x2
            tried[new] = error(new)
        report("amplify", (step + 1) / evaluations)
    best = min(tried, key=lambda x: tried[x])
    return best, tried[best]
