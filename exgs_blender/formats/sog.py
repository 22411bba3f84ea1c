# SPDX-License-Identifier: GPL-3.0-or-later
"""SOG, version 2 (PlayCanvas, "Spatially Ordered Gaussians"): textures of quantised values plus ``meta.json``.

Read as a ``.sog`` bundle (ZIP), as a folder, as the path of a ``meta.json``, or as the finest level of a
streamed capture (``lod-meta.json``). Values are in the axes of the PLY that the capture was made from.
Section numbers refer to the specification in the PlayCanvas user manual, "The SOG Format".
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import logit_from_opacity
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ._limits import check_claim, check_not_empty, check_scales, shown
from ._smallest_three import from_largest_and_rest
from ._sog_lod import LOD_META, finest_parts
from ._sog_source import MAX_META_BYTES, META, BundleSource, FolderSource, Source, finite_numbers, plain_name, read_json, read_pixels
from .registry import Format

PALETTE_COLUMNS = 64
"""SH palette entries in a row of the centroids texture (section 3.5)."""

QUAT_TAG = 252
"""Alpha of the quaternion texture is this plus the index (wxyz) of the largest component (section 3.2)."""

FIELD_HINT = "The file is damaged; export the capture again"


def _part(source: Source, meta: dict[str, Any], field: str, files: int) -> tuple[dict[str, Any], list[str]]:
    """A section of meta.json and the file names in it."""
    section = meta.get(field)
    if not isinstance(section, dict):
        raise FileError(source.path, f"meta.json has no section '{field}'", FIELD_HINT)
    names = section.get("files")
    if not isinstance(names, list) or len(names) != files:
        raise FileError(source.path, f"meta.json field '{field}.files' should name {files} images", FIELD_HINT)
    return section, [plain_name(source.path, name) for name in names]


def _integer(path: Path, field: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise FileError(path, f"meta.json field '{field}' is {shown(value)}, expected an integer from {least} to {most}", FIELD_HINT)
    return value


def _codebook(source: Source, field: str, section: dict[str, Any]) -> F32:
    """256 values that bytes point to -> [256]; entries that the file leaves out are NaN, so that using one is noticed."""
    values = section.get("codebook")
    if isinstance(values, list) and len(values) == 256 and values[0] is None:
        # Early writers lost the first entry; the spacing of the others is the best guess.
        rest = finite_numbers(source.path, f"{field}.codebook", values[1:], 255, 255)
        values = [float(rest[0] + (rest[0] - rest[-1]) / 255), *rest.tolist()]
    book = np.full(256, np.nan, np.float32)
    known = finite_numbers(source.path, f"{field}.codebook", values, 1, 256)
    book[: len(known)] = known
    return book


def _decode_means(source: Source, meta: dict[str, Any], count: int) -> F32:
    """Section 3.1: 16 bits a coordinate between mins and maxs of sign(x) ln(1 + |x|)."""
    section, (low_name, high_name) = _part(source, meta, "means", 2)
    mins = finite_numbers(source.path, "means.mins", section.get("mins"), 3, 3)
    maxs = finite_numbers(source.path, "means.maxs", section.get("maxs"), 3, 3)
    if max(np.abs(mins).max(), np.abs(maxs).max()) > 80.0:
        raise FileError(source.path, "meta.json fields 'means.mins' and 'means.maxs' should be logarithms within -80 to 80", FIELD_HINT)
    low = read_pixels(source, low_name, count)
    high = read_pixels(source, high_name, count)
    means = np.empty((count, 3), np.float32)
    for axis in range(3):
        cells = low[:, axis].astype(np.uint16) | (high[:, axis].astype(np.uint16) << np.uint16(8))
        logs = mins[axis] + (maxs[axis] - mins[axis]) * (np.arange(65536) / 65535.0)
        means[:, axis] = (np.sign(logs) * np.expm1(np.abs(logs)))[cells]
    return means


def _decode_quats(source: Source, meta: dict[str, Any], count: int) -> F32:
    """Section 3.2: the three smaller components in [-1, 1] / sqrt(2); the largest is positive and follows from unit length."""
    _, (name,) = _part(source, meta, "quats", 1)
    pixels = read_pixels(source, name, count)
    largest = pixels[:, 3].astype(np.int16) - QUAT_TAG
    if (largest < 0).any():
        at = int(np.argmax(largest < 0))
        problem = f"image '{name}' has alpha {int(pixels[at, 3])} for Gaussian {at}, expected 252 to 255"
        raise FileError(source.path, problem, "The image was saved with loss; export the capture again")
    table = ((np.arange(256) / 255.0 - 0.5) * np.sqrt(2.0)).astype(np.float32)
    return from_largest_and_rest(largest, table[pixels[:, :3]])


def _look_up(source: Source, field: str, book: F32, indices: NDArray[np.uint8]) -> F32:
    values = book[indices]
    if np.isnan(values).any():
        raise FileError(
            source.path, f"meta.json field '{field}.codebook' is shorter than the largest index that its image uses", FIELD_HINT
        )
    return values


def _decode_sh_rest(source: Source, meta: dict[str, Any], count: int, degree: int) -> F32:
    """Section 3.5: a label a Gaussian into a palette of SH vectors, whose values are bytes into a codebook."""
    rest = SH_COEFFICIENTS[degree] - 1
    if rest == 0:
        return np.zeros((count, 0, 3), np.float32)
    section, (palette_name, label_name) = _part(source, meta, "shN", 2)
    entries = _integer(source.path, "shN.count", section.get("count"), 1, 65536)
    rows = -(-entries // PALETTE_COLUMNS)
    shape = (PALETTE_COLUMNS * rest, rows)
    pixels = read_pixels(source, palette_name, shape[0] * rows, shape).reshape(rows * PALETTE_COLUMNS, rest, 4)
    palette = _look_up(source, "shN", _codebook(source, "shN", section), pixels[:entries, :, :3])
    bytes_ = read_pixels(source, label_name, count)
    labels = bytes_[:, 0].astype(np.int32) | (bytes_[:, 1].astype(np.int32) << 8)
    if labels.max() >= entries:
        raise FileError(source.path, f"image '{label_name}' points to SH entry {labels.max()}, the palette has {entries}", FIELD_HINT)
    return palette[labels]


def _decode(source: Source, report: Report) -> Gaussians:
    meta = read_json(source.path, META, source.read(META, MAX_META_BYTES))
    version = meta.get("version")
    if version != 2:
        raise FileError(
            source.path, f"meta.json field 'version' is {shown(version)}, expected 2", "Export the capture again with a current tool"
        )
    count = _integer(source.path, "count", meta.get("count"), 0, 1 << 31)
    check_not_empty(source.path, "count", count)
    degree = 0
    names = [
        name for field, files in (("means", 2), ("quats", 1), ("scales", 1), ("sh0", 1)) for name in _part(source, meta, field, files)[1]
    ]
    if meta.get("shN") is not None:
        section, more = _part(source, meta, "shN", 2)
        degree = _integer(source.path, "shN.bands", section.get("bands"), 0, 3)
        names += more
    check_claim(source.path, "count", count, degree, sum(source.size(name) for name in names))
    stage = "reading SOG"
    report(stage, 0.0)
    means = _decode_means(source, meta, count)
    report(stage, 0.3)
    quats = _decode_quats(source, meta, count)
    report(stage, 0.5)
    section, (name,) = _part(source, meta, "scales", 1)
    scales = _look_up(source, "scales", _codebook(source, "scales", section), read_pixels(source, name, count)[:, :3])
    check_scales(source.path, scales)
    report(stage, 0.6)
    section, (name,) = _part(source, meta, "sh0", 1)
    colour = read_pixels(source, name, count)
    sh0 = _look_up(source, "sh0", _codebook(source, "sh0", section), colour[:, :3])
    opacities = logit_from_opacity(np.arange(256, dtype=np.float32) / np.float32(255))[colour[:, 3]]
    report(stage, 0.7)
    shN = _decode_sh_rest(source, meta, count, degree)
    report(stage, 1.0)
    return Gaussians(means, quats, scales, opacities, sh0.reshape(count, 1, 3), shN)


def _read_capture(path: Path, report: Report) -> Gaussians:
    if path.suffix.lower() == ".json":
        return _decode(FolderSource(path.parent, path.name), report)
    with BundleSource(path) as bundle:
        return _decode(bundle, report)


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read a bundle, a folder, a ``meta.json`` or the finest level of a ``lod-meta.json``.

    Raises:
        FileError: a part is missing, damaged, of the wrong size, or claims more than it holds.
        MissingDependencyError: Pillow is not in this Python.
    """
    path = Path(path)
    if path.is_dir():
        path = path / META if (path / META).is_file() else path / LOD_META
    if path.name == LOD_META:
        return finest_parts(path, lambda part: _read_capture(part, report))
    return _read_capture(path, report)


def _sniff(path: Path, head: bytes) -> bool:
    if path.is_dir():
        return (path / META).is_file() or (path / LOD_META).is_file()
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as bundle:
                names = bundle.namelist()
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
            return path.suffix.lower() == ".sog"  # let the reader say what is wrong with it
        return any(name == META or name.endswith("/" + META) for name in names) or path.suffix.lower() == ".sog"
    return path.suffix.lower() == ".json" and (path.name in (META, LOD_META) or b'"means"' in head)


FORMAT = Format(name="sog", title="SOG (PlayCanvas)", suffixes=("lod-meta.json", "meta.json", ".sog"), sniff=_sniff, read=read)
