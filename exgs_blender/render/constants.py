# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers that define the image: gsplat 1.5.3's (Common.h, RasterizeToPixels3DGSFwd.cu, Utils.cuh).

gsplat 1.6 uses other values (largest alpha 0.99), so these move only together with the version that is pinned.
"""

from __future__ import annotations

ALPHA_MAX = 0.999
"""A Gaussian never covers a pixel more than this."""

ALPHA_MIN = 1.0 / 255.0
"""What covers a pixel less is not blended there."""

TRANSMITTANCE_STOP = 1e-4
"""A pixel is finished, without the Gaussian at hand, when that one would leave no more than this."""

EPS2D = 0.3
"""Added to the variance of the projected Gaussian along both image axes, in square pixels (low-pass filter)."""

EXTENT_MAX = 3.33
"""Standard deviations at which a Gaussian ends at the latest; sqrt(2 ln 255) = 3.329, so alpha never shows the cut."""

FRUSTUM_MARGIN = 0.3
"""The projection's derivative is taken at most this share of half the field of view outside the image."""

ALPHA_EPS = 1e-10
"""Depth is divided by max(alpha, this)."""
