# SPDX-License-Identifier: GPL-3.0-or-later
"""Spatial order along a Z curve (Morton 1966)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS = 21
CHUNK = 1 << 16


def _spread(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Insert two zero bits after each of the low 21 bits."""
    x &= np.uint64(0x1FFFFF)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        x = (x | (x << np.uint64(shift))) & np.uint64(mask)
    return x


def morton_codes(means: NDArray[np.floating[Any]]) -> NDArray[np.uint64]:
    """[N, 3] positions -> [N] 63-bit codes over the cloud's bounding cube (21 bits an axis)."""
    if len(means) == 0:
        return np.zeros(0, np.uint64)
    low = means.min(axis=0).astype(np.float64)
    extent = max(float((means.max(axis=0) - low).max()), 1e-30)
    codes = np.empty(len(means), np.uint64)
    for start in range(0, len(means), CHUNK):  # in pieces: the 64-bit steps in between take nine times the memory of the codes
        points = np.asarray(means[start : start + CHUNK], np.float64)
        cells = np.minimum((points - low) / extent * 2**BITS, 2**BITS - 1).astype(np.uint64)
        code = _spread(cells[:, 0]) | (_spread(cells[:, 1]) << np.uint64(1)) | (_spread(cells[:, 2]) << np.uint64(2))
        codes[start : start + CHUNK] = code
    return codes


def morton_order(means: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """[N, 3] -> [N] indices that sort the points along the Z curve (stable)."""
    return np.argsort(morton_codes(means), kind="stable").astype(np.int64, copy=False)
