# SPDX-License-Identifier: GPL-3.0-or-later
"""SOG version 1, from before the format had version numbers: values are linear between ``mins`` and ``maxs``, without codebooks.

As PlayCanvas' engine still reads it (its parser of legacy SOG data): scales are logarithms, the fourth channel of sh0 is the logit of
the opacity, and the SH degree follows from the width of the palette's texture. Positions and rotations are those of version 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ..progress import Report
from ..splats import Gaussians
from ..splats.activation import MAX_LOGIT
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ._files import DAMAGED
from ._limits import check_claim, check_not_empty, check_scales, shown
from ._sog_fields import ALWAYS, PALETTE_COLUMNS, decode_labels, decode_means, decode_quats, integer, part
from ._sog_source import Source, finite_numbers, image_size, read_pixels

MAX_PALETTE_ROWS = 1024


def _between(source: Source, meta: dict[str, Any], field: str, channels: int, pixels: NDArray[np.uint8]) -> F32:
    """Bytes [N, channels] -> values between the section's mins and maxs."""
    mins = finite_numbers(source.path, f"{field}.mins", meta[field].get("mins"), channels, channels)
    maxs = finite_numbers(source.path, f"{field}.maxs", meta[field].get("maxs"), channels, channels)
    table = mins + (maxs - mins) * (np.arange(256)[:, None] / 255)
    values = np.empty((len(pixels), channels), np.float32)
    for channel in range(channels):
        values[:, channel] = table[pixels[:, channel], channel]
    return values


def _sh_degree(source: Source, palette: str) -> int:
    width, height = image_size(source, palette)
    degree = next((d for d in (1, 2, 3) if width == PALETTE_COLUMNS * (SH_COEFFICIENTS[d] - 1)), 0)
    if not degree or not 1 <= height <= MAX_PALETTE_ROWS:
        raise FileError(source.path, f"image '{palette}' is {width} x {height}, expected 192, 512 or 960 wide", DAMAGED)
    return degree


def _decode_sh_rest(source: Source, meta: dict[str, Any], count: int, degree: int) -> F32:
    """As in version 2, but the palette's bytes lie between two numbers."""
    rest = SH_COEFFICIENTS[degree] - 1
    if rest == 0:
        return np.zeros((count, 0, 3), np.float32)
    section, (palette_name, label_name) = part(source, meta, "shN", 2)
    ends = finite_numbers(source.path, "shN.mins and shN.maxs", [section.get("mins"), section.get("maxs")], 2, 2)
    width, height = image_size(source, palette_name)
    pixels = read_pixels(source, palette_name, width * height, (width, height)).reshape(height * PALETTE_COLUMNS, rest, 4)
    labels = decode_labels(source, label_name, count, len(pixels))
    levels = (ends[0] + (ends[1] - ends[0]) * (np.arange(256) / 255)).astype(np.float32)
    palette: F32 = levels[pixels[..., :3]]
    return palette[labels]


def decode_version_1(source: Source, meta: dict[str, Any], report: Report) -> Gaussians:
    """The Gaussians of a capture whose ``meta.json`` has no version.

    Raises:
        FileError: a section, a field or an image is missing or of another kind or size.
    """
    path = source.path
    names = [name for field, files in ALWAYS for name in part(source, meta, field, files)[1]]
    shape = meta["means"].get("shape")
    if not isinstance(shape, list) or not shape:
        raise FileError(path, f"meta.json field 'means.shape' is {shown(shape)} and field 'version' is missing", DAMAGED)
    count = integer(path, "means.shape", shape[0], 0, 1 << 31)
    check_not_empty(path, "means.shape", count)
    degree = 0
    if meta.get("shN") is not None:
        more = part(source, meta, "shN", 2)[1]
        degree = _sh_degree(source, more[0])
        names += more
    check_claim(path, "means.shape", count, degree, sum(source.size(name) for name in names))
    stage = "reading SOG"
    report(stage, 0.0)
    means, quats = decode_means(source, meta, count), decode_quats(source, meta, count)
    report(stage, 0.5)
    scales = _between(source, meta, "scales", 3, read_pixels(source, names[3], count))
    check_scales(path, scales)
    colour = _between(source, meta, "sh0", 4, read_pixels(source, names[4], count))
    report(stage, 0.7)
    shN = _decode_sh_rest(source, meta, count, degree)
    report(stage, 1.0)
    opacities = np.clip(colour[:, 3], -MAX_LOGIT, MAX_LOGIT)
    return Gaussians(means, quats, scales, opacities, colour[:, None, :3], shN)
