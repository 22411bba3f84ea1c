# SPDX-License-Identifier: GPL-3.0-or-later
"""Separable filters for the metrics; numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def gaussian_taps(radius: int, sigma: float) -> NDArray[np.float64]:
    """[2 radius + 1] samples of exp(-x^2 / (2 sigma^2)); not normalised."""
    offsets = np.arange(-radius, radius + 1)
    return np.exp(-0.5 * (offsets / sigma) ** 2)


def correlate(image: NDArray[Any], taps: NDArray[np.float64], axis: int) -> NDArray[Any]:
    """Weighted sums along one axis where all taps fit: that axis gets len(taps) - 1 shorter. The image's type is kept."""
    size = image.shape[axis] - len(taps) + 1
    windows = (image[(slice(None),) * axis + (slice(i, i + size),)] for i in range(len(taps)))
    total = image.dtype.type(taps[0]) * next(windows)
    for tap, window in zip(taps[1:], windows, strict=True):
        total += image.dtype.type(tap) * window
    return total


def correlate_edges(image: NDArray[Any], taps: NDArray[np.float64], axis: int) -> NDArray[Any]:
    """As :func:`correlate`, the image continued by its edge pixels: the shape stays."""
    pad = [(0, 0)] * image.ndim
    pad[axis] = (len(taps) // 2, len(taps) // 2)
    return correlate(np.pad(image, pad, mode="edge"), taps, axis)
