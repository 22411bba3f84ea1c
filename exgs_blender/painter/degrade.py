# SPDX-License-Identifier: GPL-3.0-or-later
"""Prunes scenes for training pairs as compressors do, but to a keep ratio instead of a file size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..cameras import Cameras
from ..progress import Report
from ..splats import Gaussians
from ..splats.ellipsoids import ellipsoids_of, gaussians_from
from ..ugc.dequantise import dequantise
from ..ugc.quantise import Steps, quantise
from ..ugc.refit import RefitSettings, refit
from ..ugc.settings import steps_for
from ..ugc.thinning import Merging, Sampling, Thinning

if TYPE_CHECKING:
    from ..render.scored_views import ScoredViews

Cut = Literal["merge", "exgs", "decimate"]

BYTES_PER_GAUSSIAN = 10.0
"""About what the coder takes; tells the ratio that a keep ratio belongs to."""
ROUNDS = 4


def rounding_for(scene: Gaussians, keep_ratio: float) -> Steps:
    """The quantisation that the compressor would choose for a file that keeps this share."""
    full = scene.ply_bytes / max(len(scene), 1)
    return steps_for(full / (keep_ratio * BYTES_PER_GAUSSIAN))


class Compressor:
    """A ``pairs.Degrade``: scores once per scene, then prunes and rounds to any keep ratio.

    Args:
        method: "merge" (the product's default: merged, then re-fitted to the views), "exgs" (the paper's sampling and
            amplification) or "decimate" (merged only, as tools do that never look at a view).
    """

    def __init__(self, method: Cut = "merge") -> None:
        self.method = method
        self._scene: Gaussians | None = None
        self._scored: ScoredViews | None = None
        self._thinning: Thinning | None = None

    def __call__(self, scene: Gaussians, views: Cameras, keep_ratio: float, report: Report) -> Gaussians:
        from ..render.scored_views import score_views

        if self._scene is not scene or self._scored is None or self._thinning is None:
            self._scene, self._scored = scene, score_views(scene, [(views, 1.0)], report=report)
            statistics = self._scored.statistics
            sampling = self.method == "exgs"
            self._thinning = Sampling(scene, statistics, self._scored.error) if sampling else Merging(scene, statistics)
        cloud = self._thinning.reduced_to(max(int(keep_ratio * len(scene)), 1), report).gaussians
        if self.method == "merge":
            cloud = gaussians_from(refit(ellipsoids_of(cloud), self._scored, RefitSettings(ROUNDS), report))
        return dequantise(quantise(cloud, rounding_for(scene, keep_ratio)))
