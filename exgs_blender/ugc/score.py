# SPDX-License-Identifier: GPL-3.0-or-later
"""How much a Gaussian matters to the views that were rendered."""

from __future__ import annotations

import numpy as np

from ..errors import ExgsError
from ..splats import BlendStatistics
from ..splats.activation import opacity_from_logit
from ..splats.gaussians import F32

MIN_VISIBLE_WEIGHT = 1 / 255
"""A Gaussian whose blend weight never reaches this in any pixel of any view changes no 8-bit image by itself."""


def paper_score(statistics: BlendStatistics, opacities: F32) -> F32:
    """The ExGS paper's score of each Gaussian, [N].

    ``GS_j = 1 / (M H W) * sum over the pixels i of M views of 1(G_j hit by r_i) * sigma_j * T_j`` with
    ``T_j = prod over k < j of (1 - sigma_k)`` (arXiv 2509.24758): sigma_j is the Gaussian's own opacity, T_j the
    transmittance in front of it along ray i.

    Args:
        statistics: of the views to keep.
        opacities: [N] logits.

    Raises:
        ExgsError: the statistics are of another cloud.
    """
    check_count(statistics, len(opacities))
    return (opacity_from_logit(opacities) * statistics.transmittance_sum / max(statistics.pixels, 1)).astype(np.float32)


def visible(statistics: BlendStatistics) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """[N] whether any view would change by more than half an 8-bit step without the Gaussian."""
    return statistics.weight_max >= MIN_VISIBLE_WEIGHT


def check_count(statistics: BlendStatistics, count: int) -> None:
    """Raise where the statistics are not of ``count`` Gaussians."""
    if len(statistics.weight_sum) != count:
        raise ExgsError(f"statistics are of {len(statistics.weight_sum)} Gaussians, the cloud has {count}: render it again")
