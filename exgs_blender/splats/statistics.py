# SPDX-License-Identifier: GPL-3.0-or-later
"""What rendering a set of views says about each Gaussian. Made by ``render.contribution``, used by ``ugc``."""

from __future__ import annotations

from dataclasses import dataclass

from .gaussians import F32


@dataclass(frozen=True, eq=False)
class BlendStatistics:
    """Sums over all pixels of all views; w = alpha * T is a Gaussian's blend weight in a pixel.

    A pixel counts for a Gaussian where the rasterizer blended it (alpha >= 1/255, not yet opaque).

    Attributes:
        pixels: number of pixels looked at, M * H * W.
        weight_sum: [N] sum of w.
        weight_max: [N] largest w.
        hits: [N] number of pixels.
        transmittance_sum: [N] sum of T in front of the Gaussian over its hits (the paper's sum, without sigma_j).
        weight_transmittance_sum: [N] sum of w * T.
        blur_sum: [N] sum of w * (z / f)^2: the world-space area of a pixel at the Gaussian, weighted.
    """

    pixels: int
    weight_sum: F32
    weight_max: F32
    hits: F32
    transmittance_sum: F32
    weight_transmittance_sum: F32
    blur_sum: F32
