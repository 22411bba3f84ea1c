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


BLOCK = 1 << 16
"""Gaussians whose moments are worked out at a time: the steps between take ten times their memory."""

F64 = np.ndarray[Any, np.dtype[np.float64]]
I32 = np.ndarray[Any, np.dtype[np.int32]]
I64 = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, eq=False)
class MergeState:
    """A cloud on its way.

    Colours that depend on direction take no part in the choice of pairs: they stay in the source until the end.

    Attributes:
        table: [N, 16] columns in ``merge_kernels``.
        source: the cloud that merging began with.
        rows: [source] the row that each of its Gaussians went into, -1 for those that no view needs.
        masses: [source] rendered weight of each.
    """

    table: F64
    source: Gaussians
    rows: I32
    masses: F64

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
    seen = visible(statistics)
    kept = np.flatnonzero(seen)
    masses = np.maximum(statistics.weight_sum.astype(np.float64), 1e-12)
    table = np.zeros((len(kept), kernels.COLUMNS))
    for start in range(0, len(kept), BLOCK):
        block = kept[start : start + BLOCK]
        _fill(table[start : start + BLOCK], gaussians.select(block), masses[block], statistics.blur_sum[block], kernels)
    if len(table):
        depicted = table[:, kernels.SEEN]
        depicted[:] = np.minimum(depicted, np.quantile(depicted, SEEN_CAP_QUANTILE)) / max(float(depicted.mean()), 1e-30)
    rows = np.where(seen, np.cumsum(seen) - 1, -1).astype(np.int32)
    return MergeState(table, gaussians, rows, masses)


def _fill(table: F64, cloud: Gaussians, masses: F64, blur_sum: F32, kernels: Any) -> None:
    """Rows of the table; how often each Gaussian is seen is not yet relative to the others."""
    table[:, kernels.X : kernels.Z + 1] = cloud.means
    table[:, kernels.XX : kernels.ZZ + 1] = covariances_of(cloud)
    table[:, kernels.MASS] = masses
    table[:, kernels.OPACITY] = np.maximum(opacity_from_logit(cloud.opacities), 1e-4)
    table[:, kernels.BLUR] = PIXEL_BLUR * blur_sum / masses
    table[:, kernels.RED : kernels.BLUE + 1] = 0.5 + SH_C0 * cloud.sh0[:, 0]
    table[:, kernels.SEEN] = np.sqrt(masses / (table[:, kernels.OPACITY] * _areas(table, kernels)))


def reduce_to(state: MergeState, count: int, report: Report = silent) -> MergeState:
    """Merge pairs until at most ``count`` (at least one) are left."""
    kernels = _kernels()
    table, rows, source, masses = state.table, state.rows, state.source, state.masses
    del state
    start, count = len(table), max(count, 1)
    left: I64 = np.arange(start)
    pairs = np.empty((0, 2), np.int32)
    while len(left) > count:
        points = table[left, : kernels.Z + 1].astype(np.float32)
        levels = max(int(np.ceil(np.log2(len(points) / kernels.LEAF))), 0)
        order, axes, values = kernels.build_tree(points, levels)
        near = kernels.neighbours(points[order], axes, values, levels, NEIGHBOURS)
        places = np.empty(len(left), np.int32)
        places[order] = np.arange(len(left), dtype=np.int32)
        rows = _relabelled(rows, pairs, left, places, len(table))
        table = table[left[order]]  # a copy: the state's own table stays as it is
        limit = min(len(table) - count, max(int(SHARE_PER_ROUND * len(table)), 1))
        pairs = kernels.match(cheapest_first(kernels.pair_costs(table, near).ravel()), near, limit)
        kernels.merge_rows(table, pairs)
        stays = np.ones(len(table), bool)
        stays[pairs[:, 1]] = False
        left = np.flatnonzero(stays)
        report("merge", (start - len(left)) / max(start - count, 1))
    rows = _relabelled(rows, pairs, left, np.arange(len(left), dtype=np.int32), len(table))
    return MergeState(table[left], source, rows, masses)


def _relabelled(rows: I32, pairs: I32, left: I64, places: I32, count: int) -> I32:
    """``rows`` of a table of ``count`` after the second of each pair went into the first and those ``left`` moved to ``places``."""
    moved = np.empty(count + 1, np.int32)
    moved[left], moved[-1] = places, -1
    moved[pairs[:, 1]] = moved[pairs[:, 0]]
    return moved[rows]


def cheapest_first(costs: F32) -> I64:
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
    source = state.source
    sh = np.zeros((len(table), 1 + source.shN.shape[1], 3), np.float32)
    kernels.add_colours(source.sh0, source.shN, state.rows, state.masses, table[:, kernels.MASS], sh)
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


def _areas(table: F64, kernels: Any) -> F64:
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
