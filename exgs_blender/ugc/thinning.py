# SPDX-License-Identifier: GPL-3.0-or-later
"""From all Gaussians to a wanted number of them: by merging (ours) or by the paper's sampling and amplification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..progress import Report, silent
from ..splats import BlendStatistics, Gaussians
from ..splats.gaussians import F32
from .amplify import DEFAULT_STRENGTH, RenderError, amplify, local_loss, search_growth
from .merge import MergeState, gaussians_of, masses_of, reduce_to, start_merging
from .prune import voxel_sample
from .score import paper_score

MAX_STRENGTH = 1.0


@dataclass(frozen=True, eq=False)
class Thinned:
    """What is left, and how much each adds to the scored images (``BlendStatistics.weight_sum``), [N]."""

    gaussians: Gaussians
    weight: F32


class Thinning(Protocol):
    """Clouds of fewer and fewer Gaussians."""

    total: int
    available: int

    def reduced_to(self, count: int, report: Report = silent) -> Thinned:
        """At most ``count`` Gaussians."""

    def notes(self) -> dict[str, Any]:
        """What the file should say about it."""


class Merging:
    """Pairs merge until few enough are left. Going back up starts again from the source."""

    def __init__(self, gaussians: Gaussians, statistics: BlendStatistics) -> None:
        self._source = gaussians, statistics
        self._latest: MergeState | None = start_merging(gaussians, statistics)
        self.total, self.available = len(gaussians), len(self._latest)

    def reduced_to(self, count: int, report: Report = silent) -> Thinned:
        self._latest = reduce_to(self._handed_over(count), count, report)
        return Thinned(gaussians_of(self._latest), masses_of(self._latest))

    def _handed_over(self, count: int) -> MergeState:
        """Where to merge on from. Nothing else holds it, so that its memory goes as soon as it is reordered."""
        latest, self._latest = self._latest, None
        return latest if latest is not None and count <= len(latest) else start_merging(*self._source)

    def notes(self) -> dict[str, Any]:
        return {}


class Sampling:
    """The paper's chain: voxel sampling by score, then amplification whose strength is searched once."""

    def __init__(self, gaussians: Gaussians, statistics: BlendStatistics, error: RenderError | None) -> None:
        self._gaussians, self._statistics, self._error = gaussians, statistics, error
        self._score = paper_score(statistics, gaussians.opacities)
        self._strength: float | None = None
        self.total = self.available = len(gaussians)

    def reduced_to(self, count: int, report: Report = silent) -> Thinned:
        means, weight = self._gaussians.means, self._statistics.weight_sum
        kept = voxel_sample(means, self._score, count)
        survivors = self._gaussians.select(kept)
        loss = local_loss(means, weight, kept)
        if self._strength is None:
            self._strength = self._searched(survivors, loss, report)
        return Thinned(amplify(survivors, self._strength * loss), np.maximum(weight[kept], 1e-12).astype(np.float32))

    def _searched(self, survivors: Gaussians, loss: F32, report: Report) -> float:
        error = self._error
        if error is None:
            return DEFAULT_STRENGTH
        return search_growth(lambda strength: error(amplify(survivors, strength * loss)), MAX_STRENGTH, report=report)[0]

    def notes(self) -> dict[str, Any]:
        return {"amplification": self._strength}
