# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Gaussians stay: the ExGS paper's voxel sampling, with the threshold set so that the wanted number stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..splats.gaussians import F32

I64 = NDArray[np.int64]

GRID = 64
CORE_QUANTILES = (0.02, 0.98)


def default_edge(means: F32) -> float:
    """Voxel edge: a 64th of the longest side of the box that holds the middle 96 % of the centres along each axis."""
    if len(means) == 0:
        return 1.0
    first, last = np.quantile(means[:: max(1, len(means) // 100_000)], CORE_QUANTILES, axis=0)
    return max(float((last - first).max()) / GRID, 1e-12)


def voxels_of(means: F32, edge: float) -> I64:
    """[N] consecutive numbers of the voxels of edge ``edge`` that the centres lie in."""
    cells = np.clip(np.floor(means.astype(np.float64) / edge), -(2**20), 2**20 - 1).astype(np.int64) + 2**20
    key = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    return np.unique(key, return_inverse=True)[1].reshape(-1)


def voxel_sample(means: F32, score: F32, count: int, edge: float | None = None) -> I64:
    """Indices (sorted) of ``count`` Gaussians: the best of every voxel with enough points, then the best of the rest.

    Paper: in each voxel V with enough points keep the top ``k = floor(|V| rho)`` by score, at least one. "Enough" is taken
    as ``|V| rho >= 1``: a smaller voxel that kept one all the same would keep more than its share, and with thousands of them
    the total could not be reached. Their points compete with each other globally for ``floor(rho * their number)`` places.
    rho is the largest share for which the total does not pass ``count``; the few places left go to the best of what remains.
    """
    total = len(means)
    if count >= total:
        return np.arange(total)
    voxel = voxels_of(means, edge if edge is not None else default_edge(means))
    sizes = np.bincount(voxel)
    rho = _share(sizes, count)
    quota = np.where(sizes * rho >= 1, np.floor(sizes * rho + 1e-9), 0).astype(np.int64)
    order = np.lexsort((-score, voxel))
    rank = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.zeros(total, bool)
    kept[order] = rank < quota[voxel[order]]
    small = (quota[voxel] == 0) & ~kept
    _keep_best(kept, small, score, int(rho * np.count_nonzero(small)))
    _keep_best(kept, ~kept, score, count - np.count_nonzero(kept))
    return np.flatnonzero(kept)


def _share(sizes: I64, count: int) -> float:
    """Largest rho whose quotas sum to at most ``count``, by bisection (the sum grows with rho)."""
    low, high = 0.0, 1.0
    for _ in range(50):
        rho = (low + high) / 2
        enough = sizes * rho >= 1
        wanted = int(np.floor(sizes[enough] * rho + 1e-9).sum()) + int(rho * sizes[~enough].sum())
        low, high = (rho, high) if wanted <= count else (low, rho)
    return low


def _keep_best(kept: NDArray[np.bool_], candidates: NDArray[np.bool_], score: F32, count: int) -> None:
    """Mark the ``count`` best-scored candidates as kept."""
    index = np.flatnonzero(candidates)
    count = min(count, len(index))
    if count > 0:
        kept[index[np.argpartition(-score[index], count - 1)[:count]]] = True
