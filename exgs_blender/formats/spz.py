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
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ..splats.spherical_harmonics import sh_signs
from ..splats.transforms import quat_signs
from ._spz_container import COLOUR_SCALE, GZIP_MAGIC, MAGIC, U8, Packed, read_container, reference_signs
from .registry import Format

DEFAULT_VERSION = 3
"""What is written unless asked otherwise: version 4 is a little smaller, but fewer programs read it."""


def _decode_means(packed: Packed) -> F32:
    """Half floats in version 1, 24-bit fixed point after it."""
    raw = packed.attributes["positions"]
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
    """Version 3 and above: 2 bits name the largest of xyzw; the others have a sign and 9 bits over [0, sqrt(1/2)].

    The lowest bits hold the last of the three in xyzw order.
    """
    words = raw.view("<u4").astype(np.uint32, copy=False)
    largest = words >> 30
    xyzw = np.zeros((len(words), 4), np.float32)
    step = np.float32(np.sqrt(0.5) / 511)
    for component in range(4):
        # Of the stored ones, how many come after this one: those above it, less the largest if it is among them.
        after = 3 - component - (largest > component)
        field = words >> (10 * np.maximum(after, 0)).astype(np.uint32)
        value = (field & 511).astype(np.float32) * step
        xyzw[:, component] = np.where(largest == component, 0, np.where(field & 512, -value, value))
    rest = np.sqrt(np.maximum(0, 1 - np.square(xyzw).sum(axis=1)))
    xyzw[np.arange(len(words)), largest] = rest
    return xyzw[:, [3, 0, 1, 2]]


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read an SPZ file.

    Raises:
        FileError: no SPZ, too new, damaged, truncated, or not of the size that its header claims.
        MissingDependencyError: version 4 without zstandard.
    """
    report("reading SPZ", 0.0)
    packed = read_container(Path(path))
    report("reading SPZ", 0.5)
    header, raw = packed.header, packed.attributes
    quats = _decode_first_three(raw["rotations"]) if header.version < 3 else _decode_smallest_three(raw["rotations"])
    quats *= quat_signs(packed.flips)
    levels = np.arange(256, dtype=np.float32)
    sh0 = ((levels / 255 - np.float32(0.5)) / np.float32(COLOUR_SCALE))[raw["colors"]]
    rest = SH_COEFFICIENTS[header.sh_degree] - 1
    shN = ((levels - 128) / 128)[raw["sh"]].reshape(header.count, rest, 3)
    shN *= sh_signs(header.sh_degree, packed.flips)[:, None] * reference_signs(header.sh_degree, packed.flips)
    report("reading SPZ", 1.0)
    return Gaussians(
        means=_decode_means(packed),
        quats=quats,
        scales=(levels / 16 - 10)[raw["scales"]].reshape(-1, 3),
        opacities=logit_from_opacity(levels / 255)[raw["alphas"]],
        sh0=sh0.reshape(-1, 1, 3),
        shN=shN,
    )


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
