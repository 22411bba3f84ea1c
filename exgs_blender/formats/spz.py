# SPDX-License-Identifier: GPL-3.0-or-later
"""SPZ, versions 1 to 4 (Niantic): quantised splats, about ten times smaller than PLY.

An SPZ file stores right-up-back axes; a PLY of the same capture has right-down-forward ones. What is read here
is in the PLY's axes, so that a capture looks the same from either file. The "antialiased" flag is ignored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import logit_from_opacity
from ..splats.gaussians import F32, unfilled
from ..splats.spherical_harmonics import sh_signs
from ..splats.transforms import quat_signs
from ._smallest_three import from_largest_and_rest
from ._spz_container import COLOUR_SCALE, GZIP_MAGIC, MAGIC, U8, Packed, read_container, reference_signs
from .registry import Format

CHUNK = 1 << 15
"""Gaussians that are decoded at a time."""
LEVELS = np.arange(256, dtype=np.float32)
"""What a byte can be."""
TEN_BITS = np.where(np.arange(1024) & 512, -1, 1).astype(np.float32) * (np.arange(1024) & 511) * np.float32(np.sqrt(0.5) / 511)
"""Sign and nine bits of a quaternion's component, as a number."""
DEFAULT_VERSION = 3
"""What is written unless asked otherwise: version 4 is a little smaller, but fewer programs read it."""


def _decode_means(raw: U8, packed: Packed) -> F32:
    """Half floats in version 1, 24-bit fixed point after it."""
    if packed.header.version == 1:
        means = raw.view("<f2").astype(np.float32)
    else:
        wide = np.zeros((raw.size // 3, 4), np.uint8)
        wide[:, 1:] = raw.reshape(-1, 3)  # in the upper bytes, so that shifting right extends the sign
        means = (wide.view("<i4")[:, 0] >> 8).astype(np.float32) * np.float32(2.0**-packed.header.fractional_bits)
    return means.reshape(-1, 3) * np.array(packed.flips, np.float32)


def _decode_first_three(raw: U8) -> F32:
    """Versions 1 and 2: x, y, z as bytes over [-1, 1]; w is not negative and follows from unit length."""
    xyz = raw.reshape(-1, 3).astype(np.float32) / np.float32(127.5) - np.float32(1)
    w = np.sqrt(np.maximum(0, 1 - np.square(xyz).sum(axis=1, keepdims=True)))
    return np.concatenate([w, xyz], axis=1)


def _decode_smallest_three(raw: U8) -> F32:
    """Version 3 and above: 2 bits name the largest of xyzw; the others, in order, have a sign and 9 bits over [0, sqrt(1/2)]."""
    words = raw.view("<u4").astype(np.uint32, copy=False)
    fields = (words[:, None] >> np.array([20, 10, 0], np.uint32)) & np.uint32(1023)
    xyzw = from_largest_and_rest(words >> np.uint32(30), TEN_BITS[fields])
    return xyzw[:, [3, 0, 1, 2]]


def _decode_sh(raw: U8, packed: Packed, shN: F32) -> None:
    """Bytes around 128, 1/128 each, into [n, K-1, 3], with the signs that the axes ask for."""
    degree = packed.header.sh_degree
    signs = sh_signs(degree, packed.flips)[:, None] * reference_signs(degree, packed.flips)
    np.subtract(raw.reshape(shN.shape), np.float32(128), out=shN)
    shN *= signs / np.float32(128)


def _decode_piece(packed: Packed, part: slice, cloud: Gaussians) -> None:
    """Fill some Gaussians of a cloud."""
    count = packed.header.count
    raw = {name: data[part.start * (data.size // count) : part.stop * (data.size // count)] for name, data in packed.attributes.items()}
    first_three = packed.header.version < 3
    cloud.means[part] = _decode_means(raw["positions"], packed)
    cloud.quats[part] = _decode_first_three(raw["rotations"]) if first_three else _decode_smallest_three(raw["rotations"])
    cloud.quats[part] *= quat_signs(packed.flips)
    cloud.scales[part] = (LEVELS / 16 - 10)[raw["scales"]].reshape(-1, 3)
    cloud.opacities[part] = logit_from_opacity(LEVELS / 255)[raw["alphas"]]
    cloud.sh0[part, 0] = ((LEVELS / 255 - np.float32(0.5)) / np.float32(COLOUR_SCALE))[raw["colors"]].reshape(-1, 3)
    _decode_sh(raw["sh"], packed, cloud.shN[part])


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read an SPZ file.

    Raises:
        FileError: no SPZ, too new, damaged, truncated, or not of the size that its header claims.
        MissingDependencyError: version 4 without zstandard.
    """
    stage = "reading SPZ"
    report(stage, 0.0)
    packed = read_container(Path(path))
    count = packed.header.count
    cloud = unfilled(count, packed.header.sh_degree)
    for start in range(0, count, CHUNK):
        report(stage, 0.5 + 0.5 * start / count)
        _decode_piece(packed, slice(start, min(start + CHUNK, count)), cloud)
    report(stage, 1.0)
    return cloud


def write(path: Path, gaussians: Gaussians, *, report: Report = silent, version: int = DEFAULT_VERSION) -> None:
    """Write an SPZ file; log scales are clipped to -10 .. 5.9, colour to f_dc within +-3.3, SH coefficients to +-1; atomic.

    Raises:
        ExgsError: no such version, or a position beyond what it can hold.
        FileError: the file cannot be written.
        MissingDependencyError: version 4 without zstandard.
    """
    from ._spz_write import write_spz

    write_spz(Path(path), gaussians, version, report)


def _sniff(path: Path, head: bytes) -> bool:
    return head.startswith(MAGIC) or head.startswith(GZIP_MAGIC)


FORMAT = Format(
    name="spz",
    title="SPZ (Niantic)",
    suffixes=(".spz",),
    sniff=_sniff,
    read=read,
    write=write,
    variants="versions 1 to 4 (written: 3; others with --spz-version)",
    conventions="right-up-back axes, turned; wxyz without its largest component",
    write_options=frozenset({"version"}),
)
