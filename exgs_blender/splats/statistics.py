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


POSITION, POSITION_CURVATURE, SHAPE, SHAPE_CURVATURE, WEIGHT, WEIGHT_SQUARED, COLOUR = 0, 3, 9, 16, 44, 45, 46
"""First columns of the parts of :class:`NormalEquations`; after the colour's gradient [K, 3] comes its curvature."""


def equation_columns(bases: int) -> int:
    """Columns of the equations of a Gaussian with ``bases`` = K spherical harmonics."""
    return COLOUR + 3 * bases + bases * (bases + 1) // 2


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """What a set of views asks of each Gaussian, linearised: Gauss-Newton's gradient J'r and its own block of J'J.

    The unknowns are whitened by the Gaussian itself: with covariance F F', a [3] moves it by F a; n = (n_o, n_xx, n_xy, n_xz,
    n_yy, n_yz, n_zz) multiplies its opacity by exp(n_o) and turns its covariance into F (I + N) F'. So steps of all Gaussians are
    alike in size, whatever the units of the scene. Residuals are truth minus render, RGB and alpha.

    Attributes:
        columns: [N, C] float32: gradient of a [3]; its curvature (upper triangle) [6]; gradient of n [7]; its curvature (upper
            triangle, rows first) [28]; sum of w * (alpha of the pixel); sum of w^2; gradient of the SH coefficients [K, 3]; their
            curvature (upper triangle) weighted by w * (alpha of the pixel), which bounds what all Gaussians of a pixel do together.
        bases: K.
        errors: [V] squared residuals of each view, RGB and alpha.
        squared_error: sum of the squared RGB residuals alone.
        values: number of those residuals.
    """

    columns: F32
    bases: int
    errors: tuple[float, ...]
    squared_error: float
    values: int

    @property
    def mean_squared_error(self) -> float:
        """Over all channels of all pixels of all views."""
        return self.squared_error / max(self.values, 1)
