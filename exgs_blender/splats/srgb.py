# SPDX-License-Identifier: GPL-3.0-or-later
"""The sRGB transfer curve (IEC 61966-2-1). Gaussians are trained and blended in sRGB-encoded space."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gaussians import F32


def linear_from_srgb(encoded: NDArray[np.floating[Any]]) -> F32:
    """sRGB-encoded -> linear; any shape; odd about 0 and without an upper clip."""
    x = np.asarray(encoded, np.float32)
    size = np.abs(x)
    return np.copysign(np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4), x).astype(np.float32)


def srgb_from_linear(linear: NDArray[np.floating[Any]]) -> F32:
    """Linear -> sRGB-encoded, the inverse of :func:`linear_from_srgb`."""
    x = np.asarray(linear, np.float32)
    size = np.abs(x)
    return np.copysign(np.where(size <= 0.0031308, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055), x).astype(np.float32)
