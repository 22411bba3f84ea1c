# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed PLY (PlayCanvas, ``.compressed.ply``): 16 bytes a Gaussian, quantised within chunks of 256.

Element "chunk" holds the ranges, "vertex" four packed words, and the optional "sh" one byte a coefficient.
Source: the PlayCanvas user manual, "Compressed PLY". Values are in the axes of the PLY that it was made from.
Written along a Z curve, which keeps chunks small: the Gaussians come back in another order.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import logit_from_opacity, opacity_from_logit, rgb_from_sh0, sh0_from_rgb
from ..splats.gaussians import F32, SH_COEFFICIENTS, unfilled
from ..splats.morton import morton_order
from ._files import DAMAGED
from ._limits import check_not_empty, check_scales
from ._ply_header import Element, Header, read_header
from ._ply_lists import has_lists_on_the_way
from ._smallest_three import SQRT2, from_largest_and_rest, largest_and_rest
from .registry import Format

CHUNK = 256
SH_RANGE = 8.0
"""Coefficient bytes span -SH_RANGE / 2 to SH_RANGE / 2."""

PIECE = CHUNK * CHUNK
"""Gaussians that are packed at a time: whole chunks."""

SH_ROWS = 1 << 12
"""Gaussians whose SH is decoded at a time: what numpy needs for it stays in cache."""

MAX_WRITTEN_LOG_SCALE = 20.0
"""Shapes beyond it are damaged, and would cost the other ones of their chunk all precision."""

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
    if has_lists_on_the_way(header, element):
        raise FileError(header.path, f"a list property stands before or in element '{name}', expected none in a compressed PLY", DAMAGED)
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
    values = np.empty((len(words), len(bits)), np.float32)
    shift = 32 - sum(bits)
    for column in reversed(range(len(bits))):
        most = (1 << bits[column]) - 1
        np.divide((words >> np.uint32(shift)) & np.uint32(most), np.float32(most), out=values[:, column], casting="unsafe")
        shift += bits[column]
    return values


def _chunk_ranges(header: Header, element: Element) -> NDArray[Any]:
    """The rows of element "chunk", all of them plausible."""
    chunks = np.array(_rows(header, element))
    for name, code in element.scalars.items():
        if code == "f4" and not (np.abs(chunks[name]) < MAX_RANGE).all():
            row = int(np.argmin(np.abs(chunks[name]) < MAX_RANGE))
            found = f"property '{name}' of element 'chunk' is {chunks[name][row]:g} in row {row}"
            raise FileError(header.path, f"{found}, expected a magnitude below {MAX_RANGE:g}", DAMAGED)
    return chunks


def _within(chunks: NDArray[Any], names: tuple[str, ...], unit: F32, start: int) -> F32:
    """Map 0..1 [N, 3] of the Gaussians from ``start`` on to each chunk's range of these three properties."""
    values = np.empty_like(unit)
    owner = (start + np.arange(len(unit))) // CHUNK
    for axis, name in enumerate(names):
        low, high = chunks[f"min_{name}"].astype(np.float32), chunks[f"max_{name}"].astype(np.float32)
        values[:, axis] = low[owner] * (1 - unit[:, axis]) + high[owner] * unit[:, axis]
    return values


def _decode_quats(words: U32) -> F32:
    """2 bits name the largest of wxyz; the others, in order, take 10 bits over [-1, 1] / sqrt(2)."""
    small = (_fields(words << np.uint32(2), (10, 10, 10)) - np.float32(0.5)) * SQRT2
    return from_largest_and_rest(words >> np.uint32(30), small)


def _sh_element(header: Header, count: int) -> tuple[Element | None, int]:
    """(element "sh" or None, coefficients of each channel above degree 0)."""
    element = header.element("sh")
    if element is None:
        return None, 0
    rest, remainder = divmod(len(element.scalars), 3)
    names = [f"f_rest_{i}" for i in range(3 * rest)]
    if remainder or rest + 1 not in SH_COEFFICIENTS or set(element.scalars) != set(names):
        allowed = ", ".join(str(3 * (k - 1)) for k in SH_COEFFICIENTS)
        found = f"element 'sh' has {len(element.scalars)} properties, expected {allowed} named 'f_rest_'"
        raise FileError(header.path, found, DAMAGED)
    _element(header, "sh", tuple(names), "u1")
    if element.count != count:
        raise FileError(header.path, f"element 'sh' has {element.count} rows, expected {count} as element 'vertex'", DAMAGED)
    return element, rest


class _ShRest:
    """The coefficients above degree 0: one byte each, channel-major in the file."""

    def __init__(self, header: Header, count: int) -> None:
        element, self.rest = _sh_element(header, count)
        columns = {name: i for i, name in enumerate(element.scalars)} if element else {}
        self._order = np.array([columns[f"f_rest_{c * self.rest + k}"] for k in range(self.rest) for c in range(3)], np.intp)
        if element:
            self._bytes = np.memmap(header.path, np.uint8, "r", header.offset_of(element), (count, len(columns)))
        # Bytes stand for the middle of 256 equal steps, except 0 and 255, which are the ends.
        levels = (np.arange(256, dtype=np.float32) + np.float32(0.5)) / 256
        levels[[0, 255]] = 0, 1
        self._levels = (levels - np.float32(0.5)) * np.float32(SH_RANGE)

    def fill(self, shN: F32, start: int) -> None:
        """Decode into [n, K-1, 3] the Gaussians from ``start`` on."""
        for first in range(0, len(shN) if self.rest else 0, SH_ROWS):
            some = shN[first : first + SH_ROWS]
            rows = self._bytes[start + first : start + first + len(some)]
            np.take(self._levels, np.take(rows, self._order, axis=1), out=some.reshape(len(some), -1), mode="clip")


def _decode_piece(chunks: NDArray[Any], rows: NDArray[Any], start: int) -> tuple[F32, F32, F32, F32, F32]:
    """(means, quats, scales, opacities, f_dc) of some rows of element "vertex"."""
    means = _within(chunks, POSITION_RANGE, _fields(_words(rows, "packed_position"), (11, 10, 11)), start)
    scales = _within(chunks, SCALE_RANGE, _fields(_words(rows, "packed_scale"), (11, 10, 11)), start)
    colour = _fields(_words(rows, "packed_color"), (8, 8, 8, 8))
    rgb = colour[:, :3]
    if "min_r" in (chunks.dtype.names or ()):
        rgb = _within(chunks, COLOUR_RANGE, rgb, start)
    return means, _decode_quats(_words(rows, "packed_rotation")), scales, logit_from_opacity(colour[:, 3]), sh0_from_rgb(rgb)


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
    if "min_r" in chunk.scalars:
        _element(header, "chunk", tuple(f"{end}_{name}" for name in COLOUR_RANGE for end in ("min", "max")), "f4")
    rows, chunks = _rows(header, vertex), _chunk_ranges(header, chunk)
    sh, count = _ShRest(header, vertex.count), vertex.count
    cloud = unfilled(count, SH_COEFFICIENTS.index(sh.rest + 1))
    for start in range(0, count, PIECE):
        report("reading compressed PLY", start / count)
        part = slice(start, min(start + PIECE, count))
        decoded = _decode_piece(chunks, rows[part], start)
        cloud.means[part], cloud.quats[part], cloud.scales[part], cloud.opacities[part], cloud.sh0[part, 0] = decoded
        sh.fill(cloud.shN[part], start)
    check_scales(header.path, cloud.scales)
    report("reading compressed PLY", 1.0)
    return cloud


def _words(rows: NDArray[Any], name: str) -> U32:
    return rows[name].astype(np.uint32)


def _packed(values: F32, bits: tuple[int, ...]) -> U32:
    """[N, len(bits)] in 0..1 -> words with the first field in the highest bits; the inverse of ``_fields``."""
    words = np.zeros(len(values), np.uint32)
    for column, width in enumerate(bits):
        most = (1 << width) - 1
        words = (words << np.uint32(width)) | np.clip(np.round(values[:, column] * most), 0, most).astype(np.uint32)
    return words


def _spans(values: F32, low: float, high: float) -> tuple[F32, F32]:
    """[N, 3] -> (limits of each chunk [C, 6]: minima, maxima; the values within them [N, 3] in 0..1)."""
    clipped = np.clip(values, low, high)
    starts = np.arange(0, len(values), CHUNK)
    least, most = np.minimum.reduceat(clipped, starts), np.maximum.reduceat(clipped, starts)
    owner = np.arange(len(values)) // CHUNK
    span = np.where(most > least, most - least, np.float32(1))
    unit: F32 = (clipped - least[owner]) / span[owner]
    return np.concatenate([least, most], axis=1), unit


def _pack_piece(piece: Gaussians) -> tuple[F32, U32]:
    """(chunk limits [C, 18], packed words [N, 4]) of Gaussians that begin at the border of a chunk."""
    position_limits, position = _spans(piece.means, -MAX_RANGE, MAX_RANGE)
    scale_limits, scale = _spans(piece.scales, -MAX_WRITTEN_LOG_SCALE, MAX_WRITTEN_LOG_SCALE)
    colour_limits, colour = _spans(rgb_from_sh0(piece.sh0[:, 0]), -MAX_RANGE, MAX_RANGE)
    largest, rest = largest_and_rest(piece.quats)
    words = [
        _packed(position, (11, 10, 11)),
        (largest.astype(np.uint32) << np.uint32(30)) | _packed(rest / SQRT2 + np.float32(0.5), (10, 10, 10)),
        _packed(scale, (11, 10, 11)),
        _packed(np.concatenate([colour, opacity_from_logit(piece.opacities)[:, None]], axis=1), (8, 8, 8, 8)),
    ]
    return np.concatenate([position_limits, scale_limits, colour_limits], axis=1), np.stack(words, axis=1)


def _sh_bytes(shN: F32) -> NDArray[np.uint8]:
    """[N, K-1, 3] -> [N, 3 (K-1)], channel-major; the inverse of ``_ShRest.fill``. Ordering bytes is cheaper than ordering floats."""
    channel_major = np.arange(shN[0].size).reshape(-1, 3).T.reshape(-1)
    packed = np.empty((len(shN), len(channel_major)), np.uint8)
    for start in range(0, len(shN) if len(channel_major) else 0, SH_ROWS):
        levels = shN[start : start + SH_ROWS].reshape(-1, len(channel_major)) * np.float32(256 / SH_RANGE)
        levels += 128
        rows = np.clip(levels, 0, 255, out=levels).astype(np.uint8)
        np.take(rows, channel_major, axis=1, out=packed[start : start + len(rows)], mode="clip")
    return packed


def _header(count: int, rest: int) -> bytes:
    limits = [f"{end}_{name}" for group in (POSITION_RANGE, SCALE_RANGE, COLOUR_RANGE) for end in ("min", "max") for name in group]
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {-(-count // CHUNK)}"]
    lines += [f"property float {name}" for name in limits]
    lines += [f"element vertex {count}", *(f"property uint {name}" for name in PACKED)]
    if rest:
        lines += [f"element sh {count}", *(f"property uchar f_rest_{i}" for i in range(3 * rest))]
    return "\n".join([*lines, "end_header\n"]).encode("ascii")


def write(path: Path, gaussians: Gaussians, *, report: Report = silent) -> None:
    """Write a compressed PLY with colour ranges, in Morton order; atomic.

    SH coefficients are clipped to +-4, log scales to +-20.

    Raises:
        FileError: the file cannot be written.
    """
    count, rest = len(gaussians), gaussians.shN.shape[1]
    order = morton_order(gaussians.means)
    pieces = [order[start : start + PIECE] for start in range(0, count, PIECE)]
    words = np.empty((count, len(PACKED)), "<u4")
    passes = 2 if rest else 1
    bare = replace(gaussians, shN=np.empty((count, 0, 3), np.float32))  # SH follows in a pass of its own
    with atomic_path(path) as part, part.open("wb") as file:
        file.write(_header(count, rest))
        for done, rows in enumerate(pieces):
            report("writing compressed PLY", done / len(pieces) / passes)
            limits, words[done * PIECE : done * PIECE + len(rows)] = _pack_piece(bare.select(rows))
            file.write(limits.astype("<f4").tobytes())
        file.write(words.data)
        sh = _sh_bytes(gaussians.shN)
        for done, rows in enumerate(pieces if rest else []):
            report("writing compressed PLY", (1 + done / len(pieces)) / passes)
            file.write(sh[rows].data)
    report("writing compressed PLY", 1.0)


def _sniff(path: Path, head: bytes) -> bool:
    return head.startswith(b"ply") and b"packed_position" in head and b"end_header" in head


FORMAT = Format(
    name="compressed_ply",
    title="Compressed PLY (PlayCanvas)",
    suffixes=(".compressed.ply",),
    sniff=_sniff,
    read=read,
    write=write,
    priority=10,
    variants="with and without colour ranges",
    conventions="as in the PLY; quantised within chunks of 256",
    max_sh_degree=3,
)
