# SPDX-License-Identifier: GPL-3.0-or-later
"""What both versions of SOG share: sections of meta.json, positions and rotations (sections 3.1 and 3.2 of its specification)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ..splats.gaussians import F32
from ._files import DAMAGED
from ._limits import shown
from ._smallest_three import from_largest_and_rest
from ._sog_source import Source, finite_numbers, plain_name, read_pixels

QUAT_TAG = 252
"""Alpha of the quaternion texture is this plus the index (wxyz) of the largest component (section 3.2)."""

PALETTE_COLUMNS = 64
"""SH palette entries in a row of the centroids texture (section 3.5)."""

ALWAYS = (("means", 2), ("quats", 1), ("scales", 1), ("sh0", 1))
"""Sections that every capture has, and how many images each names."""


def part(source: Source, meta: dict[str, Any], field: str, files: int) -> tuple[dict[str, Any], list[str]]:
    """A section of meta.json and the file names in it."""
    section = meta.get(field)
    if not isinstance(section, dict):
        raise FileError(source.path, f"meta.json has no section '{field}'", DAMAGED)
    names = section.get("files")
    if not isinstance(names, list) or len(names) != files:
        raise FileError(source.path, f"meta.json field '{field}.files' should name {files} images", DAMAGED)
    return section, [plain_name(source.path, name) for name in names]


def integer(path: Path, field: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise FileError(path, f"meta.json field '{field}' is {shown(value)}, expected an integer from {least} to {most}", DAMAGED)
    return value


def decode_means(source: Source, meta: dict[str, Any], count: int) -> F32:
    """Section 3.1: 16 bits a coordinate between mins and maxs of sign(x) ln(1 + |x|)."""
    section, (low_name, high_name) = part(source, meta, "means", 2)
    mins = finite_numbers(source.path, "means.mins", section.get("mins"), 3, 3)
    maxs = finite_numbers(source.path, "means.maxs", section.get("maxs"), 3, 3)
    if max(np.abs(mins).max(), np.abs(maxs).max()) > 80.0:
        raise FileError(source.path, "meta.json fields 'means.mins' and 'means.maxs' should be logarithms within -80 to 80", DAMAGED)
    low = read_pixels(source, low_name, count)
    high = read_pixels(source, high_name, count)
    means = np.empty((count, 3), np.float32)
    for axis in range(3):
        cells = low[:, axis].astype(np.uint16) | (high[:, axis].astype(np.uint16) << np.uint16(8))
        logs = mins[axis] + (maxs[axis] - mins[axis]) * (np.arange(65536) / 65535.0)
        means[:, axis] = (np.sign(logs) * np.expm1(np.abs(logs)))[cells]
    return means


def decode_quats(source: Source, meta: dict[str, Any], count: int) -> F32:
    """Section 3.2: the three smaller components in [-1, 1] / sqrt(2); the largest is positive and follows from unit length."""
    _, (name,) = part(source, meta, "quats", 1)
    pixels = read_pixels(source, name, count)
    largest = pixels[:, 3].astype(np.int16) - QUAT_TAG
    if (largest < 0).any():
        at = int(np.argmax(largest < 0))
        problem = f"image '{name}' has alpha {int(pixels[at, 3])} for Gaussian {at}, expected 252 to 255"
        raise FileError(source.path, problem, "The image was saved with loss; export the capture again")
    table = ((np.arange(256) / 255.0 - 0.5) * np.sqrt(2.0)).astype(np.float32)
    return from_largest_and_rest(largest, table[pixels[:, :3]])


def decode_labels(source: Source, name: str, count: int, entries: int) -> NDArray[np.int32]:
    """Section 3.5: which of the palette's ``entries`` each Gaussian's SH is [count], 16 bits in red and green."""
    pixels = read_pixels(source, name, count)
    labels = pixels[:, 0].astype(np.int32) | (pixels[:, 1].astype(np.int32) << 8)
    if labels.max() >= entries:
        raise FileError(source.path, f"image '{name}' points to SH entry {labels.max()}, the palette has {entries}", DAMAGED)
    return labels
