# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file may claim: checked before anything of that size is allocated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import FileError
from ..splats import MAX_SH_DEGREE, Gaussians
from ..splats.gaussians import F32

MAX_EXPANSION = 200
"""Decoded bytes per packed byte, at most: a Gaussian of SH degree 3 in 1.2 bytes. Real captures in packed formats expand 3 to 30 times."""

ALWAYS_ALLOWED_BYTES = 64 << 20
"""Up to this decoded size, any expansion is harmless."""

MAX_LOG_SCALE = 88.0
"""exp of more overflows float32."""


def decoded_bytes(count: int, sh_degree: int) -> int:
    """Bytes of the float32 arrays of ``count`` Gaussians."""
    return count * 4 * (11 + 3 * (sh_degree + 1) ** 2)


def plausible(decoded: int, packed: int) -> bool:
    """Whether so many bytes can honestly come out of so many packed ones, or are too few to hurt."""
    return decoded <= max(ALWAYS_ALLOWED_BYTES, MAX_EXPANSION * packed)


def shown(value: object) -> str:
    """A value from a file, short enough for an error of one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_claim(path: Path, field: str, count: int, sh_degree: int, packed_bytes: int) -> None:
    """Refuse a count that no honest file of this size holds (a decompression bomb or a damaged header).

    Args:
        path: the file at fault.
        field: where the count stands in it, e.g. "numPoints".
        count: Gaussians that it claims.
        sh_degree: SH degree that it claims.
        packed_bytes: bytes of the compressed data.

    Raises:
        FileError: the degree is out of range or the decoded size is beyond what the packed bytes can plausibly hold.
    """
    if not 0 <= sh_degree <= MAX_SH_DEGREE:
        raise FileError(path, f"field 'SH degree' is {sh_degree}, expected 0 to {MAX_SH_DEGREE}", "The file is damaged or too new")
    if count < 0 or not plausible(decoded_bytes(count, sh_degree), packed_bytes):
        raise FileError(
            path,
            f"field '{field}' claims {count} Gaussians, which {packed_bytes} packed bytes cannot hold",
            "The file is truncated or damaged; export the capture again",
        )


def check_not_empty(path: Path, field: str, count: int) -> None:
    """Refuse a capture without Gaussians, so that no later step meets one.

    Raises:
        FileError: ``count`` is 0.
    """
    if count == 0:
        raise FileError(path, f"field '{field}' is 0, expected at least one Gaussian", "Export the capture again")


def check_scales(path: Path, scales: F32) -> None:
    """Refuse log standard deviations whose exponential is no float32.

    Args:
        path: the file at fault.
        scales: [N, 3] natural logarithms.

    Raises:
        FileError: one is above 88; names the Gaussian.
    """
    if scales.size and float(scales.max()) > MAX_LOG_SCALE:
        worst = int(np.argmax(scales.max(axis=1)))
        problem = f"Gaussian {worst} has a log scale of {scales[worst].max():.6g} in 'scale', expected at most {MAX_LOG_SCALE:g}"
        raise FileError(path, problem, "Clean the capture and export it again")


def check_finite(path: Path, gaussians: Gaussians) -> None:
    """Refuse values that are NaN or infinite.

    Raises:
        FileError: one is; names the field and the Gaussian.
    """
    bad = gaussians.nonfinite_field()
    if bad:
        raise FileError(path, f"Gaussian {bad[1]} has a value in '{bad[0]}' that is not finite", "Clean the capture and export it again")
