# SPDX-License-Identifier: GPL-3.0-or-later
""".splat: 32 bytes a Gaussian, no header, no spherical harmonics above degree 0.

Layout (antimatter15/splat, README and convert.py): position 3 float32, standard deviations 3 float32 (linear), colour and
opacity RGBA 4 uint8 (0..255 for 0..1), rotation wxyz 4 uint8 (128 + 128 q). Little-endian; axes of the PLY.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..atomic import atomic_path
from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import (
    log_from_scale,
    logit_from_opacity,
    opacity_from_logit,
    rgb_from_sh0,
    scale_from_log,
    sh0_from_rgb,
    unit_quats,
)
from ..splats.gaussians import unfilled
from ._files import TRUNCATED, reading
from ._limits import check_not_empty, check_scales
from .registry import Format

ROW = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])
CHUNK = 1 << 16
UNIT = (0.9, 1.1)
"""Lengths that eight-bit unit quaternions have; what tells a file without a magic number from noise."""


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read a .splat file.

    Raises:
        FileError: empty, not a whole number of 32-byte rows, or a size that is no positive number.
    """
    path = Path(path)
    with reading(path):
        size = path.stat().st_size
        count, left_over = divmod(size, ROW.itemsize)
        if left_over:
            raise FileError(path, f"has {size} bytes, expected a multiple of {ROW.itemsize}", TRUNCATED)
        check_not_empty(path, "number of rows", count)
        rows = np.memmap(path, ROW, "r", shape=(count,))
    cloud = unfilled(count, 0)
    stage = "reading splat"
    report(stage, 0.0)
    for start in range(0, count, CHUNK):
        part, piece = slice(start, min(start + CHUNK, count)), rows[start : start + CHUNK]
        if not (piece["scale"] >= 0).all():
            worst = start + int(np.argmin((piece["scale"] >= 0).all(axis=1)))
            raise FileError(path, f"Gaussian {worst} has a negative value in 'scale'", "This is no .splat file; choose another")
        cloud.means[part] = piece["position"]
        cloud.scales[part] = log_from_scale(piece["scale"])
        cloud.sh0[part, 0] = sh0_from_rgb(piece["rgba"][:, :3] / np.float32(255))
        cloud.opacities[part] = logit_from_opacity(piece["rgba"][:, 3] / np.float32(255))
        cloud.quats[part] = unit_quats((piece["quat"].astype(np.float32) - 128) / 128)
        report(stage, part.stop / count)
    check_scales(path, cloud.scales)
    return cloud


def write(path: Path, gaussians: Gaussians, *, report: Report = silent) -> None:
    """Write a .splat file in the cloud's order; colour and opacity are clipped to 0..1; atomic.

    Raises:
        FileError: the file cannot be written.
    """
    stage = "writing splat"
    report(stage, 0.0)
    with atomic_path(path) as part, part.open("wb") as file:
        for start in range(0, len(gaussians), CHUNK):
            piece = gaussians.select(slice(start, start + CHUNK))
            rows = np.empty(len(piece), ROW)
            rows["position"] = piece.means
            rows["scale"] = scale_from_log(piece.scales)
            rgba = np.concatenate([rgb_from_sh0(piece.sh0[:, 0]), opacity_from_logit(piece.opacities)[:, None]], axis=1)
            rows["rgba"] = np.clip(np.round(rgba * 255), 0, 255)
            rows["quat"] = np.clip(np.round(unit_quats(piece.quats) * 128 + 128), 0, 255)
            file.write(rows.tobytes())
            report(stage, (start + len(piece)) / len(gaussians))


def _sniff(path: Path, head: bytes) -> bool:
    """By the suffix, or because the first rows are what such rows look like."""
    if path.suffix.lower() == ".splat" and not path.is_dir():
        return True
    whole = len(head) // ROW.itemsize
    if whole == 0 or path.stat().st_size % ROW.itemsize:
        return False
    rows = np.frombuffer(head, ROW, whole)
    length = np.linalg.norm((rows["quat"].astype(np.float32) - 128) / 128, axis=1)
    plausible = (np.abs(rows["position"]) < 1e9).all() and ((rows["scale"] > 0) & (rows["scale"] < 1e9)).all()
    return bool(plausible and (length > UNIT[0]).all() and (length < UNIT[1]).all())


FORMAT = Format(
    name="splat",
    title="splat (antimatter15)",
    suffixes=(".splat",),
    sniff=_sniff,
    read=read,
    write=write,
    priority=-20,  # it has no magic number: asked last
    conventions="as in the PLY; standard deviations and opacity linear; wxyz in bytes",
    max_sh_degree=0,
)
