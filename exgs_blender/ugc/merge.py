# SPDX-License-Identifier: GPL-3.0-or-later
"""Merging: what goes moves into what stays. Ours, not the paper's.

Pairs of neighbours are replaced by one Gaussian with the same moments, weighted by what the rendered views say each of the
two contributes; the pair whose replacement changes the image least goes first. Rounds of disjoint pairs until the count
is reached. No gradient, no training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import MissingDependencyError
from ..progress import Report, silent
from ..splats import BlendStatistics, Gaussians
from ..splats.activation import SH_C0, logit_from_opacity, opacity_from_logit
from ..splats.ellipsoids import UPPER, axes_from_covariances, covariances_of
from ..splats.gaussians import F32
from .score import check_count, visible

NEIGHBOURS = 8
SHARE_PER_ROUND = 0.35
PIXEL_BLUR = 0.09
"""Variance that the pixel itself adds, in squared pixels, as far as merging is concerned; measured, see docs."""
SEEN_CAP_QUANTILE = 0.99


@dataclass(frozen=True, eq=False)
class MergeState:
    """A cloud on its way: ``table`` [N, 16] float64 (columns in ``merge_kernels``) and ``sh`` [N, 3 K] with degree 0 first."""

    table: np.ndarray[Any, np.dtype[np.float64]]
    sh: F32

    def __len__(self) -> int:
        return len(self.table)


def start_merging(gaussians: Gaussians, statistics: BlendStatistics) -> MergeState:
    """The Gaussians that any view needs, with their moments, masses and visibilities.

    Raises:
        ExgsError: the statistics are of another cloud.
        MissingDependencyError: numba is not in this Python.
    """
    kernels = _kernels()
    check_count(statistics, len(gaussians))
    kept = np.flatnonzero(visible(statistics))
    cloud = gaussians.select(kept)
    weight = np.maximum(statistics.weight_sum[kept].astype(np.float64), 1e-12)
    table = np.zeros((len(cloud), kernels.COLUMNS))
    table[:, kernels.X : kernels.Z + 1] = cloud.means
    table[:, kernels.XX : kernels.ZZ + 1] = covariances_of(cloud)
    table[:, kernels.MASS] = weight
    table[:, kernels.OPACITY] = np.maximum(opacity_from_logit(cloud.opacities), 1e-4)
    table[:, kernels.BLUR] = PIXEL_BLUR * statistics.blur_sum[kept] / weight
    table[:, kernels.RED : kernels.BLUE + 1] = 0.5 + SH_C0 * cloud.sh0[:, 0]
    seen = np.sqrt(weight / (table[:, kernels.OPACITY] * _areas(table, kernels)))
    if len(seen):
        table[:, kernels.SEEN] = np.minimum(seen, np.quantile(seen, SEEN_CAP_QUANTILE)) / max(float(seen.mean()), 1e-30)
    sh = np.concatenate([cloud.sh0, cloud.shN], axis=1).reshape(len(cloud), (1 + cloud.shN.shape[1]) * 3)
    return MergeState(table, sh)


def reduce_to(state: MergeState, count: int, report: Report = silent) -> MergeState:
    """Merge pairs until at most ``count`` (at least one) are left."""
    kernels = _kernels()
    table, sh, start = state.table, state.sh, len(state)
    del state
    count = max(count, 1)
    while len(table) > count:
        points = np.ascontiguousarray(table[:, : kernels.Z + 1], np.float32)
        levels = max(int(np.ceil(np.log2(len(points) / kernels.LEAF))), 0)
        order, axes, values = kernels.build_tree(points, levels)
        table, sh = table[order], sh[order]  # copies: the state's own arrays stay as they are
        near = kernels.neighbours(points[order], axes, values, levels, NEIGHBOURS)
        limit = min(len(table) - count, max(int(SHARE_PER_ROUND * len(table)), 1))
        pairs = kernels.match(cheapest_first(kernels.pair_costs(table, near).ravel()), near, limit)
        kernels.merge_rows(table, sh, pairs)
        left = np.ones(len(table), bool)
        left[pairs[:, 1]] = False
        table, sh = table[left], sh[left]
        report("merge", (start - len(table)) / max(start - count, 1))
    return MergeState(table, sh)


def cheapest_first(costs: F32) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Indices of the finite ones of ``costs`` [E] >= 0, ascending; equal costs in order. E is below 2^32.

    One sort of 64-bit keys, the cost's bits above the index, takes a tenth of the time and half of the memory of an argsort.
    """
    keys = np.flatnonzero(np.isfinite(costs)).astype(np.uint64)
    keys |= (costs[keys] + np.float32(0)).view(np.uint32).astype(np.uint64) << np.uint64(32)  # + 0: no negative zeros
    keys.sort()
    keys &= np.uint64(0xFFFFFFFF)
    return keys.view(np.int64)


def gaussians_of(state: MergeState) -> Gaussians:
    """The merged cloud: axes and scales are the eigenvectors and roots of the eigenvalues of the covariances."""
    kernels = _kernels()
    table = state.table
    matrices = np.empty((len(table), 3, 3))
    for column, (i, j) in zip(range(kernels.XX, kernels.ZZ + 1), UPPER, strict=True):
        matrices[:, i, j] = matrices[:, j, i] = table[:, column]
    quats, scales = axes_from_covariances(matrices)
    sh = state.sh.reshape(len(table), -1, 3)
    return Gaussians(
        means=table[:, : kernels.Z + 1].astype(np.float32),
        quats=quats,
        scales=scales,
        opacities=logit_from_opacity(table[:, kernels.OPACITY].astype(np.float32)),
        sh0=sh[:, :1],
        shN=sh[:, 1:],
    )


def masses_of(state: MergeState) -> F32:
    """[N] rendered weight behind each Gaussian: the sum of those that went into it."""
    return state.table[:, _kernels().MASS].astype(np.float32)


def _areas(table: np.ndarray[Any, np.dtype[np.float64]], kernels: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[N] as ``merge_kernels.splat_area``."""
    xx, xy, xz, yy, yz, zz = table[:, kernels.XX : kernels.ZZ + 1].T
    xx, yy, zz = (v + table[:, kernels.BLUR] for v in (xx, yy, zz))
    return np.sqrt(np.maximum((xx * yy - xy * xy + xx * zz - xz * xz + yy * zz - yz * yz) / 3, 1e-60))


def _kernels() -> Any:
    try:
        from . import merge_kernels
    except ImportError as error:
        raise MissingDependencyError("numba", "merging Gaussians") from error
    return merge_kernels
