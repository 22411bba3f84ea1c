# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading back what was written: an export that lost something must not pass for one that did not."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import rgb_from_sh0
from ..splats.gaussians import F32
from .registry import read, write

PLACE_TOLERANCE = 0.02
"""Part of the cloud's size. The coarsest format (ksplat and SOG keep 16 bits, compressed PLY 11 in a chunk) stays far below."""
COLOUR_TOLERANCE = 0.02
"""Of displayed colour, 0..1; what lies beyond is cut off by some formats."""
QUANTILES = np.array([0.02, 0.25, 0.5, 0.75, 0.98])


def write_verified(path: Path, gaussians: Gaussians, *, report: Report = silent, **options: Any) -> None:
    """Write a cloud, read it back, and only then put it in the place of an older file.

    Written under its own name in a folder beside the target, since the name chooses the format and some formats are several files.

    Raises:
        ExgsError: as ``registry.write`` and :func:`verify_written`; an older file of that name is then as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}.part.", dir=path.parent))
    except OSError as error:
        raise FileError(path, f"cannot be written ({error.strerror})", "Choose a folder that you may write to") from error
    try:
        write(folder / path.name, gaussians, report=report, **options)
        report("read back", 0.0)
        verify_written(folder / path.name, gaussians)
        for made in sorted(folder.iterdir(), key=lambda file: file.name == path.name):  # what the file refers to comes first
            os.replace(made, path.parent / made.name)
    except FileError as error:
        raise FileError(path, error.problem, error.hint) from error
    except OSError as error:
        raise FileError(path, f"cannot be written ({error.strerror})", "Check free space and permissions") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
