# SPDX-License-Identifier: GPL-3.0-or-later
"""Prunes scenes for training pairs as the product's compressor does, but to a keep ratio instead of a file size."""

from __future__ import annotations

import numpy as np

from ..cameras import Cameras
from ..progress import Report
from ..splats import BlendStatistics, Gaussians
from ..ugc.amplify import RenderError, amplify, local_loss, search_growth
from ..ugc.merge import MergeState, gaussians_of, reduce_to, start_merging
from ..ugc.pipeline import (
    FIRST_BYTES_PER_GAUSSIAN,
    LEVEL_FROM_RATIO,
    LEVELS,
    MAX_MERGED_GROWTH,
    MAX_STRENGTH,
    MERGED_EVALUATIONS,
    Method,
)
from ..ugc.prune import voxel_sample
from ..ugc.quantise import Steps, dequantise, quantise
from ..ugc.score import paper_score

SEARCH_VIEWS = 4
SEARCH_LONG_SIDE = 240


def rounding_for(scene: Gaussians, keep_ratio: float) -> Steps:
    """The quantisation that the compressor would start with for a file that keeps this share."""
    full = scene.ply_bytes / max(len(scene), 1)
    for steps, size, start in zip(LEVELS, FIRST_BYTES_PER_GAUSSIAN, LEVEL_FROM_RATIO, strict=False):
        if full / (keep_ratio * size) >= start:
            return steps
    return LEVELS[-1]


class Compressor:
    """A ``pairs.Degrade``: scores once per scene, then prunes and rounds to any keep ratio.

    Args:
        method: "merge" (the product's default) or "exgs" (the paper's sampling and amplification).
    """

    def __init__(self, method: Method = "merge") -> None:
        self.method = method
        self._scene: Gaussians | None = None
        self._statistics: BlendStatistics | None = None
        self._state: MergeState | None = None

    def __call__(self, scene: Gaussians, views: Cameras, keep_ratio: float, report: Report) -> Gaussians:
        from ..render.contribution import blend_statistics

        if self._scene is not scene or self._statistics is None:
            self._scene, self._state = scene, None
            self._statistics = blend_statistics(scene, views, report=report)
        count = max(int(keep_ratio * len(scene)), 1)
        if self.method == "merge":
            pruned = self._merged(scene, self._statistics, views, count, report)
        else:
            pruned = _sampled(scene, self._statistics, views, count, report)
        return dequantise(quantise(pruned, rounding_for(scene, keep_ratio)))

    def _merged(self, scene: Gaussians, statistics: BlendStatistics, views: Cameras, count: int, report: Report) -> Gaussians:
        if self._state is None or len(self._state) < count:
            self._state = start_merging(scene, statistics)
        self._state = reduce_to(self._state, count, report)
        cloud = gaussians_of(self._state)
        error = _error_on_few(scene, views)
        growth, _ = search_growth(lambda g: error(amplify(cloud, g)), MAX_MERGED_GROWTH, MERGED_EVALUATIONS, report)
        return amplify(cloud, growth)


def _sampled(scene: Gaussians, statistics: BlendStatistics, views: Cameras, count: int, report: Report) -> Gaussians:
    """Voxel sampling, then the amplification that errs least."""
    kept = voxel_sample(scene.means, paper_score(statistics, scene.opacities), count)
    survivors = scene.select(kept)
    loss = local_loss(scene.means, statistics.weight_sum, kept)
    error = _error_on_few(scene, views)
    strength, _ = search_growth(lambda s: error(amplify(survivors, s * loss)), MAX_STRENGTH, report=report)
    return amplify(survivors, strength * loss)


def _error_on_few(scene: Gaussians, views: Cameras) -> RenderError:
    """Mean squared error of a candidate against the scene on a few small views."""
    from ..render.rasterize import rasterize_all

    few = views.select(np.linspace(0, len(views) - 1, min(SEARCH_VIEWS, len(views))).round().astype(int)).resized(SEARCH_LONG_SIDE)
    truth = [frame.rgb for frame in rasterize_all(scene, few)]

    def error(candidate: Gaussians) -> float:
        frames = rasterize_all(candidate, few)
        return float(np.mean([np.square(frame.rgb - t).mean() for frame, t in zip(frames, truth, strict=True)]))

    return error
