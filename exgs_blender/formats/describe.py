# SPDX-License-Identifier: GPL-3.0-or-later
"""What a splat file holds, as numbers that a person or a script reads; ``exgs info`` prints it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..splats import Gaussians
from ..splats.activation import MAX_LOGIT, opacity_from_logit, scale_from_log
from .registry import format_of

Value = str | int | float | list[float] | None

PERCENTILES = (1, 50, 99)
UNIT_TOLERANCE = 0.01
"""Quantised rotations are off unit length by less than this."""
HUGE_PART = 0.5
"""A standard deviation above this part of the diagonal of the middle 98 % of the cloud is called huge."""


def stored_bytes(path: str | os.PathLike[str]) -> int:
    """Bytes on disk: of the file, or of all files of a capture that is a folder (also when given its JSON file)."""
    path = Path(path)
    if path.suffix.lower() == ".json":
        path = path.parent
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _plain(values: NDArray[Any]) -> list[float]:
    """Numbers that JSON takes, short enough to read."""
    return [float(f"{value:.6g}") for value in values]


def _spread(name: str, values: NDArray[np.float32]) -> dict[str, Value]:
    """1st, 50th and 99th percentile: of [N] one number each, of [N, 3] three."""
    levels = np.percentile(values, PERCENTILES, axis=0)
    if values.ndim == 1:
        return {f"{name}_p{percent}": _plain(np.atleast_1d(level))[0] for percent, level in zip(PERCENTILES, levels, strict=True)}
    return {f"{name}_p{percent}": _plain(level) for percent, level in zip(PERCENTILES, levels, strict=True)}


def _oddities(gaussians: Gaussians, largest_scale: NDArray[np.float32]) -> dict[str, Value]:
    """Counts of Gaussians that are legal but deserve a look."""
    norms = np.linalg.norm(gaussians.quats, axis=1)
    low, high = np.percentile(gaussians.means, (1, 99), axis=0)
    diagonal = float(np.linalg.norm(high - low))
    huge = int((largest_scale > HUGE_PART * diagonal).sum()) if diagonal > 0 else 0
    return {
        "zero_quaternions": int((norms == 0).sum()),
        "nonunit_quaternions": int(((np.abs(norms - 1) > UNIT_TOLERANCE) & (norms > 0)).sum()),
        "opacities_at_limit": int((np.abs(gaussians.opacities) >= MAX_LOGIT).sum()),
        "huge_scales": huge,
    }


def describe(path: str | os.PathLike[str], gaussians: Gaussians) -> dict[str, Value]:
    """Facts about a capture that was read from ``path``; flat, and valid JSON.

    Args:
        path: the file or folder; gives the format and the bytes.
        gaussians: what ``formats.read`` made of it; at least one.

    Returns:
        ``format``, ``gaussians``, ``sh_degree``; ``bytes_on_disk``, ``bytes_as_ply`` (without normals), their ``ratio``;
        ``bounds_min``, ``bounds_max`` and ``position_p1``, ``_p50``, ``_p99`` (xyz, the capture's units);
        ``opacity_p*`` (0..1); ``scale_p*`` (largest standard deviation of each Gaussian, the capture's units);
        and the counts ``zero_quaternions``, ``nonunit_quaternions``, ``opacities_at_limit``, ``huge_scales``.

    Raises:
        FileError: the path is no splat file.
    """
    kind = format_of(path)
    on_disk = stored_bytes(path)
    largest_scale = scale_from_log(gaussians.scales.max(axis=1))
    return {
        "format": kind.title,
        "gaussians": len(gaussians),
        "sh_degree": gaussians.sh_degree,
        "bytes_on_disk": on_disk,
        "bytes_as_ply": gaussians.ply_bytes,
        "ratio": round(gaussians.ply_bytes / on_disk, 2) if on_disk else None,
        "bounds_min": _plain(gaussians.means.min(axis=0)),
        "bounds_max": _plain(gaussians.means.max(axis=0)),
        **_spread("position", gaussians.means),
        **_spread("opacity", opacity_from_logit(gaussians.opacities)),
        **_spread("scale", largest_scale),
        **_oddities(gaussians, largest_scale),
    }
