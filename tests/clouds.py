# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up clouds for tests."""

from __future__ import annotations

import numpy as np

from exgs_blender.splats import Gaussians
from exgs_blender.splats.gaussians import SH_COEFFICIENTS


def random_gaussians(count: int, sh_degree: int = 3, seed: int = 0, spread: float = 1.0) -> Gaussians:
    """Gaussians in a cube of half-width ``spread`` around the origin, with plausible sizes, opacities and colours."""
    rng = np.random.default_rng(seed)
    size = spread * 0.5 / max(count, 1) ** (1 / 3)
    return Gaussians(
        means=rng.uniform(-spread, spread, (count, 3)),
        quats=rng.normal(size=(count, 4)),
        scales=np.log(size) + rng.normal(0, 0.5, (count, 3)),
        opacities=rng.normal(0.5, 2.0, count),
        sh0=rng.normal(0, 1.0, (count, 1, 3)),
        shN=rng.normal(0, 0.15, (count, SH_COEFFICIENTS[sh_degree] - 1, 3)),
    )
