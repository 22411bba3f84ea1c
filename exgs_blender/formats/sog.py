# SPDX-License-Identifier: GPL-3.0-or-later
"""SOG, versions 1 and 2 (PlayCanvas, "Spatially Ordered Gaussians"): textures of quantised values plus ``meta.json``.

Read as a ``.sog`` bundle (ZIP), as a folder, as the path of a ``meta.json``, or as a level of a streamed capture
(``lod-meta.json``); written as version 2, bundled or beside a ``meta.json``. Values are in the
axes of the PLY that the capture was made from.
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
from ._files import DAMAGED
from ._json import read_json
from ._limits import check_claim, check_not_empty, check_scales, shown
from ._sog_fields import ALWAYS, PALETTE_COLUMNS, decode_labels, decode_means, decode_quats, integer, part
from ._sog_lod import LOD_META, parts_of_level
from ._sog_source import MAX_META_BYTES, META, BundleSource, FolderSource, Source, finite_numbers, read_pixels
from ._sog_v1 import decode_version_1
from .registry import Format


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


def _look_up(source: Source, field: str, book: F32, indices: NDArray[np.uint8]) -> F32:
    values = book[indices]
    if np.isnan(values).any():
        raise FileError(source.path, f"meta.json field '{field}.codebook' is shorter than the largest index that its image uses", DAMAGED)
    return values


def _decode_sh_rest(source: Source, meta: dict[str, Any], count: int, degree: int) -> F32:
    """Section 3.5: a label a Gaussian into a palette of SH vectors, whose values are bytes into a codebook."""
    rest = SH_COEFFICIENTS[degree] - 1
    if rest == 0:
        return np.zeros((count, 0, 3), np.float32)
    section, (palette_name, label_name) = part(source, meta, "shN", 2)
    entries = integer(source.path, "shN.count", section.get("count"), 1, 65536)
    rows = -(-entries // PALETTE_COLUMNS)
    shape = (PALETTE_COLUMNS * rest, rows)
    pixels = read_pixels(source, palette_name, shape[0] * rows, shape).reshape(rows * PALETTE_COLUMNS, rest, 4)
    palette = _look_up(source, "shN", _codebook(source, "shN", section), pixels[:entries, :, :3])
    return palette[decode_labels(source, label_name, count, entries)]


def _decode(source: Source, report: Report) -> Gaussians:
    meta = read_json(source.path, f"part '{META}'", source.read(META, MAX_META_BYTES))
    version = meta.get("version")
    if version is None:
        return decode_version_1(source, meta, report)
    if version != 2:
        raise FileError(
            source.path, f"meta.json field 'version' is {shown(version)}, expected 2", "Export the capture again with a current tool"
        )
    return _decode_version_2(source, meta, report)


def _decode_version_2(source: Source, meta: dict[str, Any], report: Report) -> Gaussians:
    count = integer(source.path, "count", meta.get("count"), 0, 1 << 31)
    check_not_empty(source.path, "count", count)
    degree = 0
    names = [name for field, files in ALWAYS for name in part(source, meta, field, files)[1]]
    if meta.get("shN") is not None:
        section, more = part(source, meta, "shN", 2)
        degree = integer(source.path, "shN.bands", section.get("bands"), 0, 3)
        names += more
    check_claim(source.path, "count", count, degree, sum(source.size(name) for name in names))
    stage = "reading SOG"
    report(stage, 0.0)
    means = decode_means(source, meta, count)
    report(stage, 0.3)
    quats = decode_quats(source, meta, count)
    report(stage, 0.5)
    section, (name,) = part(source, meta, "scales", 1)
    scales = _look_up(source, "scales", _codebook(source, "scales", section), read_pixels(source, name, count)[:, :3])
    check_scales(source.path, scales)
    report(stage, 0.6)
    section, (name,) = part(source, meta, "sh0", 1)
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


def read(path: Path, *, report: Report = silent, level: int | None = None) -> Gaussians:
    """Read a bundle, a folder, a ``meta.json`` or one level of a ``lod-meta.json``.

    Args:
        path: any of them.
        report: progress.
        level: of a streamed capture, 0 the finest; None also takes the finest one.

    Raises:
        FileError: a part is missing, damaged, of the wrong size, or claims more than it holds; there is no such level.
        MissingDependencyError: Pillow is not in this Python.
    """
    path = Path(path)
    if path.is_dir():
        path = path / META if (path / META).is_file() else path / LOD_META
    if path.name == LOD_META:
        return parts_of_level(path, lambda part: _read_capture(part, report), level or 0)
    if level:
        raise FileError(path, f"has no levels of detail, level {level} was asked for", "Read it without a level")
    return _read_capture(path, report)


def write(path: Path, gaussians: Gaussians, *, report: Report = silent) -> None:
    """Write version 2: a ``.sog`` bundle, or a ``meta.json`` with its textures beside it; in Morton order; atomic.

    The SH bands become a palette of up to 65,536 entries, as the format wants it.

    Raises:
        ExgsError: the path asks for levels of detail.
        FileError: a file cannot be written.
        MissingDependencyError: Pillow is not in this Python.
    """
    from ._sog_write import write_sog

    write_sog(Path(path), gaussians, report)


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


FORMAT = Format(
    name="sog",
    title="SOG (PlayCanvas)",
    suffixes=("meta.json", ".sog"),
    read_suffixes=("lod-meta.json",),
    sniff=_sniff,
    read=read,
    write=write,
    variants="versions 1 and 2 (written: 2); bundle, folder, levels of detail with --lod",
    conventions="as in the PLY; quantised, SH as a palette",
    max_sh_degree=3,
    read_options=frozenset({"level"}),
)
