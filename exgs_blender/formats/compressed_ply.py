# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed PLY (PlayCanvas, ``.compressed.ply``): 16 bytes a Gaussian, quantised within chunks of 256.

Element "chunk" holds the ranges, "vertex" four packed words, and the optional "sh" one byte a coefficient.
Source: the PlayCanvas user manual, "Compressed PLY". Values are in the axes of the PLY that it was made from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import logit_from_opacity, sh0_from_rgb
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ._limits import check_not_empty, check_scales
from ._ply_header import DAMAGED, Element, Header, read_header
from .registry import Format

CHUNK = 256
SH_RANGE = 8.0
"""Coefficient bytes span -SH_RANGE / 2 to SH_RANGE / 2."""

MAX_RANGE = 1e30
"""Limits of a chunk are below this, so that what lies between them is finite."""

POSITION_RANGE = ("x", "y", "z")
SCALE_RANGE = ("scale_x", "scale_y", "scale_z")
COLOUR_RANGE = ("r", "g", "b")
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")

U32 = NDArray[np.uint32]


def _element(header: Header, name: str, required: tuple[str, ...], code: str) -> Element:
    element = header.element(name)
    if element is None:
        raise FileError(header.path, f"has no element '{name}', expected in a compressed PLY", DAMAGED)
    for prop in required:
        if element.scalars.get(prop) != code:
            found = element.scalars.get(prop, "missing")
            raise FileError(header.path, f"property '{prop}' of element '{name}' is {found}, expected {code} in a compressed PLY", DAMAGED)
    return element


def _rows(header: Header, element: Element) -> NDArray[Any]:
    """All rows, mapped from the file, which has been checked to be long enough."""
    return np.memmap(header.path, element.dtype(header.order), "r", header.offset_of(element), (element.count,))


def _fields(words: U32, bits: tuple[int, ...]) -> F32:
    """Unsigned fields of ``words`` from the highest bit down -> [N, len(bits)] in 0..1."""
    columns = []
    shift = 32 - sum(bits)
    for width in reversed(bits):
        most = (1 << width) - 1
        columns.append(((words >> np.uint32(shift)) & np.uint32(most)) / np.float64(most))
        shift += width
    return np.stack(columns[::-1], axis=1).astype(np.float32)


def _chunk_ranges(header: Header, element: Element) -> NDArray[Any]:
    """The rows of element "chunk", all of them plausible."""
    chunks = np.array(_rows(header, element))
    for name, code in element.scalars.items():
        if code == "f4" and not (np.abs(chunks[name]) < MAX_RANGE).all():
            row = int(np.argmin(np.abs(chunks[name]) < MAX_RANGE))
            found = f"property '{name}' of element 'chunk' is {chunks[name][row]:g} in row {row}"
            raise FileError(header.path, f"{found}, expected a magnitude below {MAX_RANGE:g}", DAMAGED)
    return chunks


def _within(chunks: NDArray[Any], names: tuple[str, ...], unit: F32) -> F32:
    """Map 0..1 [N, 3] to each chunk's range of these three properties."""
    values = np.empty_like(unit)
    owner = np.arange(len(unit)) // CHUNK
    for axis, name in enumerate(names):
        low, high = chunks[f"min_{name}"].astype(np.float32), chunks[f"max_{name}"].astype(np.float32)
        values[:, axis] = low[owner] * (1 - unit[:, axis]) + high[owner] * unit[:, axis]
    return values


def _decode_quats(words: U32) -> F32:
    """2 bits name the largest of wxyz; the others, in order, take 10 bits over [-1, 1] / sqrt(2)."""
    small = (_fields(words << np.uint32(2), (10, 10, 10)) - np.float32(0.5)) * np.float32(np.sqrt(2.0))
    largest = words >> np.uint32(30)
    quats = np.empty((len(words), 4), np.float32)
    for index in range(4):
        rows = largest == index
        quats[np.ix_(rows, [i for i in range(4) if i != index])] = small[rows]
        quats[rows, index] = np.sqrt(np.maximum(0, 1 - np.square(small[rows]).sum(axis=1)))
    return quats


def _decode_sh_rest(header: Header, count: int) -> F32:
    """Bytes at the middle of 256 equal steps, except 0 and 255, which are the ends; channel-major."""
    element = header.element("sh")
    if element is None:
        return np.zeros((count, 0, 3), np.float32)
    rest, remainder = divmod(len(element.scalars), 3)
    names = [f"f_rest_{i}" for i in range(3 * rest)]
    if remainder or rest + 1 not in SH_COEFFICIENTS or set(element.scalars) != set(names):
        allowed = ", ".join(str(3 * (k - 1)) for k in SH_COEFFICIENTS)
        found = f"element 'sh' has {len(element.scalars)} properties, expected {allowed} named 'f_rest_'"
        raise FileError(header.path, found, DAMAGED)
    _element(header, "sh", tuple(names), "u1")
    if element.count != count:
        raise FileError(header.path, f"element 'sh' has {element.count} rows, expected {count} as element 'vertex'", DAMAGED)
    levels = (np.arange(256, dtype=np.float32) + np.float32(0.5)) / 256
    levels[[0, 255]] = 0, 1
    levels = (levels - np.float32(0.5)) * np.float32(SH_RANGE)
    rows = _rows(header, element)
    shN = np.empty((count, rest, 3), np.float32)
    for i, name in enumerate(names):
        shN[:, i % rest, i // rest] = levels[rows[name]]
    return shN


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read a compressed PLY.

    Raises:
        FileError: an element or property is missing or of another type, the file is shorter than it claims.
    """
    header = read_header(Path(path))
    if not header.order:
        raise FileError(path, "a compressed PLY in text form, expected a binary one", "Export the capture again")
    vertex = _element(header, "vertex", PACKED, "u4")
    ranges = tuple(f"{end}_{name}" for name in (*POSITION_RANGE, *SCALE_RANGE) for end in ("min", "max"))
    chunk = _element(header, "chunk", ranges, "f4")
    check_not_empty(header.path, "element vertex", vertex.count)
    if chunk.count != -(-vertex.count // CHUNK):
        problem = f"element 'chunk' has {chunk.count} rows, expected {-(-vertex.count // CHUNK)} for {vertex.count} Gaussians"
        raise FileError(header.path, problem, DAMAGED)
    rows, chunks = _rows(header, vertex), _chunk_ranges(header, chunk)
    stage = "reading compressed PLY"
    report(stage, 0.0)
    means = _within(chunks, POSITION_RANGE, _fields(_words(rows, "packed_position"), (11, 10, 11)))
    scales = _within(chunks, SCALE_RANGE, _fields(_words(rows, "packed_scale"), (11, 10, 11)))
    check_scales(header.path, scales)
    report(stage, 0.4)
    colour = _fields(_words(rows, "packed_color"), (8, 8, 8, 8))
    rgb = colour[:, :3]
    if "min_r" in chunk.scalars:
        _element(header, "chunk", tuple(f"{end}_{name}" for name in COLOUR_RANGE for end in ("min", "max")), "f4")
        rgb = _within(chunks, COLOUR_RANGE, rgb)
    report(stage, 0.6)
    cloud = Gaussians(
        means=means,
        quats=_decode_quats(_words(rows, "packed_rotation")),
        scales=scales,
        opacities=logit_from_opacity(colour[:, 3]),
        sh0=sh0_from_rgb(rgb).reshape(-1, 1, 3),
        shN=_decode_sh_rest(header, vertex.count),
    )
    report(stage, 1.0)
    return cloud


def _words(rows: NDArray[Any], name: str) -> U32:
    return rows[name].astype(np.uint32)


def _sniff(path: Path, head: bytes) -> bool:
    return head.startswith(b"ply") and b"packed_position" in head and b"end_header" in head


FORMAT = Format(
    name="compressed_ply",
    title="Compressed PLY (PlayCanvas)",
    suffixes=(".compressed.ply",),
    sniff=_sniff,
    read=read,
    priority=10,
)
