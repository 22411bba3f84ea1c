# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading back what was written: an export that lost something must not pass for one that did not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ..splats import Gaussians
from ..splats.activation import rgb_from_sh0
from ..splats.gaussians import F32
from .registry import read

PLACE_TOLERANCE = 0.02
"""Part of the cloud's size. The coarsest format (ksplat and SOG keep 16 bits, compressed PLY 11 in a chunk) stays far below."""
COLOUR_TOLERANCE = 0.02
"""Of displayed colour, 0..1; what lies beyond is cut off by some formats."""
QUANTILES = np.array([0.02, 0.25, 0.5, 0.75, 0.98])


def verify_written(path: Path, gaussians: Gaussians) -> None:
    """Read a file that was just written and compare it with what it should hold.

    Formats reorder and round, so numbers, SH degree, and the distribution of places and base colours are compared.

    Raises:
        FileError: the file cannot be read, or holds something else.
    """
    found = read(path)
    for what, have, want in (("Gaussians", len(found), len(gaussians)), ("SH degree", found.sh_degree, gaussians.sh_degree)):
        if have != want:
            raise FileError(path, f"read back, it holds {have} for {what}, expected {want}", "Export again, or to another format")
    size = float(np.linalg.norm(np.ptp(_quantiles(gaussians.means), axis=0))) or 1.0
    off = np.abs(_quantiles(found.means) - _quantiles(gaussians.means)).max() / size
    if off > PLACE_TOLERANCE:
        raise FileError(path, f"read back, its positions are off by {off:.1%} of the cloud's size", "Export again, or to another format")
    off = np.abs(_quantiles(_shown(found)) - _quantiles(_shown(gaussians))).max()
    if off > COLOUR_TOLERANCE:
        raise FileError(path, f"read back, its colours are off by {off:.2g}", "Export again, or to another format")


def _shown(gaussians: Gaussians) -> F32:
    """[N, 3] base colours as a screen shows them."""
    return np.clip(rgb_from_sh0(gaussians.sh0[:, 0]), 0.0, 1.0)


def _quantiles(values: F32) -> NDArray[np.float64]:
    """[N, 3] -> [5, 3]."""
    return np.quantile(values.astype(np.float64), QUANTILES, axis=0)
