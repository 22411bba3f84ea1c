# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics that look like rendered ones, for tests that need no renderer."""

from __future__ import annotations

import numpy as np

from exgs_blender.splats import BlendStatistics


def random_statistics(count: int, seed: int = 0, unseen: float = 0.1) -> BlendStatistics:
    """Log-normal sums; a share of ``unseen`` Gaussians is hit by no pixel."""
    rng = np.random.default_rng(seed)
    seen = rng.uniform(size=count) >= unseen
    hits = np.rint(rng.lognormal(3, 1, count)) * seen
    transmittance = hits * rng.uniform(0.1, 1, count)
    weight = transmittance * rng.uniform(0.1, 0.9, count)
    return BlendStatistics(
        pixels=24 * 480 * 360,
        weight_sum=weight.astype(np.float32),
        weight_max=(rng.uniform(0.05, 0.9, count) * seen).astype(np.float32),
        hits=hits.astype(np.float32),
        transmittance_sum=transmittance.astype(np.float32),
        weight_transmittance_sum=(weight * 0.5).astype(np.float32),
        blur_sum=(weight * 1e-5).astype(np.float32),
    )
