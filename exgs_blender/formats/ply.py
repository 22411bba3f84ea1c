# SPDX-License-Identifier: GPL-3.0-or-later
"""PLY as 3D Gaussian Splatting trainers write it (Kerbl et al. 2023, reference code), in all its dialects.

Read: properties in any order and of any scalar type, text or binary of either byte order, SH degree 0 to 4,
with or without normals; unknown properties and elements are ignored. Written: the reference code's layout.
Values are raw, in the file's axes: nothing is activated or turned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import MAX_LOGIT
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ._limits import check_not_empty, check_scales
from ._ply_header import DAMAGED, TRUNCATED, Element, Header, read_header
from .registry import Format

CHUNK_BYTES = 1 << 20
"""Rows are split into columns in pieces that stay in a core's cache."""

POSITION = ("x", "y", "z")
NORMAL = ("nx", "ny", "nz")
COLOUR = ("f_dc_0", "f_dc_1", "f_dc_2")
SCALE = ("scale_0", "scale_1", "scale_2")
ROTATION = ("rot_0", "rot_1", "rot_2", "rot_3")
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


def _binary_chunks(header: Header, element: Element) -> Iterator[NDArray[Any]]:
    """Rows as structured arrays; each is overwritten by the next."""
    dtype = element.dtype(header.order)
    offset = header.offset_of(element)
    rows = max(1, CHUNK_BYTES // dtype.itemsize)
    buffer = np.empty(min(rows, element.count), dtype)
    with header.path.open("rb", buffering=0) as file:
        file.seek(offset)
        for start in range(0, element.count, rows):
            chunk = buffer[: min(rows, element.count - start)]
            view = memoryview(chunk.view(np.uint8).data)
            done = 0
            while done < len(view):
                step = file.readinto(view[done:])
                if not step:
                    raise FileError(header.path, f"ends after Gaussian {start + done // dtype.itemsize}", TRUNCATED)
                done += step
            yield chunk


def _text_chunks(header: Header, element: Element) -> Iterator[NDArray[Any]]:
    """Rows of a text file as structured arrays of doubles."""
    columns = list(element.scalars)
    if element.lists:
        raise FileError(header.path, "element 'vertex' has a list property, expected scalars only", "Export the capture again")
    need = element.count * 2 * len(columns) - 1  # a digit and a separator each
    if header.data_offset + need > header.file_bytes:
        found = f"element 'vertex' claims {element.count} rows, the file has {header.file_bytes - header.data_offset} bytes left"
        raise FileError(header.path, found, TRUNCATED)
    rows = max(1, CHUNK_BYTES // (8 * len(columns)))
    with header.path.open("rb") as binary:
        binary.seek(header.data_offset)
        lines = (line for line in _text_lines(binary) if line)
        for before in header.elements[: header.elements.index(element)]:
            for _ in islice(lines, before.count):
                pass
        for start in range(0, element.count, rows):
            block = list(islice(lines, min(rows, element.count - start)))
            yield _parse_block(header.path, block, columns, start, min(rows, element.count - start))


def _text_lines(binary: Any) -> Iterator[str]:
    for line in binary:  # CR-only files come as one line
        for part in line.decode("latin-1").strip().split("\r"):
            yield part.strip()


def _parse_block(path: Path, block: list[str], columns: list[str], start: int, wanted: int) -> NDArray[Any]:
    if len(block) < wanted:
        raise FileError(path, f"ends after Gaussian {start + len(block)}, more were expected by element 'vertex'", TRUNCATED)
    try:
        table = np.loadtxt(block, np.float64, comments=None, ndmin=2)
        if table.shape[1] != len(columns):
            raise ValueError(f"{table.shape[1]} columns")
    except ValueError as error:
        message = f"rows from Gaussian {start} on should hold {len(columns)} numbers each ({error})"
        raise FileError(path, message, DAMAGED) from error
    return table.view([(name, np.float64) for name in columns])[:, 0]


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read a splat PLY.

    Infinite opacity logits, which exporters write for opacity 0 and 1, become +-16.

    Raises:
        FileError: not PLY, a property is missing or malformed, the file is shorter than its header claims.
    """
    path = Path(path)
    header = read_header(path)
    element, degree = _splat_element(header)
    chunks = _binary_chunks(header, element) if header.order else _text_chunks(header, element)
    count, rest = element.count, SH_COEFFICIENTS[degree] - 1
    first = next(chunks)  # the header's claims have been checked by now: allocate
    columns = _Columns(count, rest)
    report("reading PLY", 0.0)
    done = 0
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which the registry refuses
        for chunk in chain([first], chunks):
            done = columns.fill(done, chunk)
            report("reading PLY", done / count)
    columns.opacities[np.isposinf(columns.opacities)] = MAX_LOGIT
    columns.opacities[np.isneginf(columns.opacities)] = -MAX_LOGIT
    check_scales(path, columns.scales)
    return Gaussians(columns.means, columns.quats, columns.scales, columns.opacities, columns.sh0, columns.shN)


class _Columns:
    """The arrays of a cloud under construction, and which property goes where."""

    def __init__(self, count: int, rest: int) -> None:
        self.means = np.empty((count, 3), np.float32)
        self.quats = np.empty((count, 4), np.float32)
        self.scales = np.empty((count, 3), np.float32)
        self.opacities = np.empty(count, np.float32)
        self.sh0 = np.empty((count, 1, 3), np.float32)
        self.shN = np.empty((count, rest, 3), np.float32)
        self._targets: list[tuple[str, F32]] = [
            *((name, self.means[:, i]) for i, name in enumerate(POSITION)),
            *((name, self.quats[:, i]) for i, name in enumerate(ROTATION)),
            *((name, self.scales[:, i]) for i, name in enumerate(SCALE)),
            ("opacity", self.opacities),
            *((name, self.sh0[:, 0, i]) for i, name in enumerate(COLOUR)),
            # Channel-major in the file: all of red, all of green, all of blue.
            *((name, self.shN[:, i % rest, i // rest]) for i, name in enumerate(_rest_names(3 * rest))),
        ]

    def fill(self, start: int, rows: NDArray[Any]) -> int:
        """Copy a chunk of rows in; returns where the next one goes."""
        end = start + len(rows)
        for name, target in self._targets:
            target[start:end] = rows[name]
        return end


def property_names(sh_degree: int) -> list[str]:
    """The properties of the reference code's layout, in order."""
    return [*POSITION, *NORMAL, *COLOUR, *_rest_names(3 * (SH_COEFFICIENTS[sh_degree] - 1)), "opacity", *SCALE, *ROTATION]


def write(path: Path, gaussians: Gaussians, *, report: Report = silent) -> None:
    """Write a binary little-endian PLY in the reference code's layout, normals zero; atomic.

    Raises:
        FileError: the file cannot be written.
    """
    names = property_names(gaussians.sh_degree)
    header = "\n".join(
        [
            "ply",
            "format binary_little_endian 1.0",
            f"element vertex {len(gaussians)}",
            *(f"property float {n}" for n in names),
            "end_header\n",
        ]
    )
    rows = max(1, CHUNK_BYTES // (4 * len(names)))
    report("writing PLY", 0.0)
    with atomic_path(path) as part, part.open("wb") as file:
        file.write(header.encode("ascii"))
        for start in range(0, len(gaussians), rows):
            piece = gaussians.select(slice(start, start + rows))
            count = len(piece)
            rest = piece.shN.transpose(0, 2, 1).reshape(count, 3 * piece.shN.shape[1])
            normals = np.zeros((count, 3), np.float32)
            parts = [piece.means, normals, piece.sh0[:, 0], rest, piece.opacities[:, None], piece.scales, piece.quats]
            file.write(np.concatenate(parts, axis=1).astype("<f4", copy=False).tobytes())
            report("writing PLY", (start + count) / len(gaussians))


def _sniff(path: Path, head: bytes) -> bool:
    return head[:3] == b"ply" and head[3:4] in (b"\n", b"\r", b" ")


FORMAT = Format(name="ply", title="Gaussian Splatting PLY", suffixes=(".ply",), sniff=_sniff, read=read, write=write)
