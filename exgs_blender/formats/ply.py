# SPDX-License-Identifier: GPL-3.0-or-later
"""PLY as 3D Gaussian Splatting trainers write it (Kerbl et al. 2023, reference code), in all its dialects.

Read: properties in any order and of any scalar type, text or binary of either byte order, SH degree 0 to 4,
with or without normals; unknown properties and elements are ignored. Written: the reference code's layout.
Values are raw, in the file's axes: nothing is activated or turned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..atomic import atomic_path
from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ._files import DAMAGED, TRUNCATED
from ._limits import check_not_empty
from ._ply_columns import CHUNK_BYTES, COLOUR, NORMAL, POSITION, ROTATION, SCALE, BinaryPieces, Columns, gather, gather_parallel
from ._ply_header import Element, Header, read_header
from ._ply_lists import has_lists_on_the_way, list_chunks
from .registry import Format

REQUIRED = (*POSITION, *COLOUR, "opacity", *SCALE, *ROTATION)


def _rest_names(count: int) -> list[str]:
    return [f"f_rest_{i}" for i in range(count)]


def _sh_degree(path: Path, element: Element) -> int:
    """From the f_rest properties, which must be a whole degree without gaps."""
    found = [name for name in element.scalars if name.startswith("f_rest_")]
    for name in found:
        if not re.fullmatch(r"f_rest_(0|[1-9][0-9]{0,3})", name):
            raise FileError(path, f"property '{name}' is no SH coefficient, expected 'f_rest_' and a number", DAMAGED)
    missing = set(_rest_names(len(found))) - set(found)
    if missing:
        raise FileError(path, f"property '{min(missing, key=len)}' is missing among {len(found)} 'f_rest' properties", DAMAGED)
    for degree, coefficients in enumerate(SH_COEFFICIENTS):
        if len(found) == 3 * (coefficients - 1):
            return degree
    allowed = ", ".join(str(3 * (k - 1)) for k in SH_COEFFICIENTS)
    raise FileError(path, f"{len(found)} 'f_rest' properties fit no SH degree, expected one of {allowed}", DAMAGED)


def _splat_element(header: Header) -> tuple[Element, int]:
    """The element that holds the Gaussians, and their SH degree."""
    element = header.element("vertex")
    if element is None:
        raise FileError(header.path, "has no element 'vertex', expected the Gaussians there", "Choose a splat PLY")
    listed = [name for name in REQUIRED if name in element.lists]
    if listed:
        raise FileError(header.path, f"property '{listed[0]}' is a list, expected one number a Gaussian", DAMAGED)
    missing = [name for name in REQUIRED if name not in element.scalars]
    if missing:
        hint = "It holds a mesh or a point cloud" if "f_dc_0" in missing and "opacity" in missing else "Export the capture again"
        raise FileError(header.path, f"property '{missing[0]}' of element 'vertex' is missing, expected in a splat PLY", hint)
    degree = _sh_degree(header.path, element)
    check_not_empty(header.path, "element vertex", element.count)
    return element, degree


def _text_chunks(header: Header, element: Element) -> Iterator[F32]:
    """[n, properties] pieces of a text file."""
    width = len(element.scalars)
    need = element.count * 2 * width - 1  # a digit and a separator each
    if header.data_offset + need > header.file_bytes:
        found = f"element 'vertex' claims {element.count} rows, the file has {header.file_bytes - header.data_offset} bytes left"
        raise FileError(header.path, found, TRUNCATED)
    rows = max(1, CHUNK_BYTES // (8 * width))
    with header.path.open("rb") as binary:
        binary.seek(header.data_offset)
        lines = (line for line in _text_lines(binary) if line)
        for before in header.elements[: header.elements.index(element)]:
            for _ in islice(lines, before.count):
                pass
        for start in range(0, element.count, rows):
            wanted = min(rows, element.count - start)
            yield _parse_block(header.path, list(islice(lines, wanted)), start, (wanted, width))


def _text_lines(binary: BinaryIO) -> Iterator[str]:
    for line in binary:  # a file whose lines end in CR comes as one line
        for part in line.decode("latin-1").split("\r"):
            yield part.strip()


def _parse_block(path: Path, block: list[str], start: int, shape: tuple[int, int]) -> F32:
    if len(block) < shape[0]:
        raise FileError(path, f"ends after Gaussian {start + len(block)}, more were expected by element 'vertex'", TRUNCATED)
    try:
        table = np.loadtxt(block, np.float64, comments=None, ndmin=2)
        if table.shape != shape:
            raise ValueError(f"found {table.shape[1]}")
    except ValueError as error:
        raise FileError(path, f"each row from Gaussian {start} on should hold {shape[1]} numbers ({error})", DAMAGED) from error
    return table.astype(np.float32)


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read a splat PLY.

    Infinite opacity logits, which exporters write for opacity 0 and 1, become +-16.

    Raises:
        FileError: not PLY, a property is missing or malformed, the file is shorter than its header claims.
    """
    path = Path(path)
    header = read_header(path)
    element, degree = _splat_element(header)
    columns = Columns(element, degree)
    report("reading PLY", 0.0)
    if has_lists_on_the_way(header, element):
        gather(columns, list_chunks(header, element), report)
    elif header.order:
        gather_parallel(columns, BinaryPieces(header, element), report)
    else:
        gather(columns, _text_chunks(header, element), report)
    return columns.finished(path)


def property_names(sh_degree: int) -> list[str]:
    """The properties of the reference code's layout, in order."""
    return [*POSITION, *NORMAL, *COLOUR, *_rest_names(3 * (SH_COEFFICIENTS[sh_degree] - 1)), "opacity", *SCALE, *ROTATION]


def write(path: Path, gaussians: Gaussians, *, report: Report = silent) -> None:
    """Write a binary little-endian PLY in the reference code's layout, normals zero; atomic.

    Raises:
        FileError: the file cannot be written.
    """
    count, rest = len(gaussians), gaussians.shN.shape[1]
    names = property_names(gaussians.sh_degree)
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    header = "\n".join([*lines, *(f"property float {name}" for name in names), "end_header", ""])
    rows = max(1, CHUNK_BYTES // (4 * len(names)))
    buffer = np.zeros((min(rows, count), len(names)), "<f4")
    at = {name: column for column, name in enumerate(names)}
    fields = {"x": gaussians.means, "f_dc_0": gaussians.sh0[:, 0], "opacity": gaussians.opacities[:, None]}
    fields |= {"scale_0": gaussians.scales, "rot_0": gaussians.quats}
    report("writing PLY", 0.0)
    with atomic_path(path) as part, part.open("wb") as file:
        file.write(header.encode("ascii"))
        for start in range(0, count, rows):
            some = slice(start, min(start + rows, count))
            piece = buffer[: some.stop - start]
            for first, values in fields.items():
                for column, one in enumerate(values[some].T, at[first]):  # one by one: twice as quick as three side by side
                    piece[:, column] = one
            for channel in range(3 if rest else 0):
                column = at["f_rest_0"] + channel * rest
                piece[:, column : column + rest] = gaussians.shN[some, :, channel]
            file.write(piece.data)
            report("writing PLY", some.stop / count)


def _sniff(path: Path, head: bytes) -> bool:
    return head[:3] == b"ply" and head[3:4] in (b"\n", b"\r", b" ")


FORMAT = Format(
    name="ply",
    title="Gaussian Splatting PLY",
    suffixes=(".ply",),
    sniff=_sniff,
    read=read,
    write=write,
    variants="any property order, text or binary of either byte order, SH 0 to 4",
    conventions="right-down-forward axes, the capture's unit; logarithmic scales, logit opacity; wxyz",
    checks_values=True,
)
