# SPDX-License-Identifier: GPL-3.0-or-later
"""PLY headers, and where each element's bytes lie, checked against the file's size before anything is allocated.

Written here rather than taken from a library because a header's claims must be judged before they cost memory,
and because rows are then read in chunks. The format: Turk 1994, "The PLY Polygon File Format".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import FileError
from ._files import DAMAGED, TRUNCATED, reading

MAX_HEADER_BYTES = 1 << 20

SCALAR_TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class Element:
    """One ``element`` of a header.

    Attributes:
        name: e.g. "vertex".
        count: rows that it claims.
        scalars: property name -> numpy type code without byte order, in file order.
        lists: list properties: name -> (type of the length, type of the items).
    """

    name: str
    count: int
    scalars: dict[str, str] = field(default_factory=dict)
    lists: dict[str, tuple[str, str]] = field(default_factory=dict)

    def dtype(self, order: str) -> np.dtype[np.void]:
        """Of one binary row."""
        return np.dtype([(name, order + code) for name, code in self.scalars.items()])


@dataclass(frozen=True)
class Header:
    """A parsed header.

    Attributes:
        path: the file.
        order: "<" or ">" for binary data, "" for text.
        elements: in file order.
        data_offset: where the first element's data begins.
        file_bytes: size of the whole file.
    """

    path: Path
    order: str
    elements: tuple[Element, ...]
    data_offset: int
    file_bytes: int

    def element(self, name: str) -> Element | None:
        """The element of this name, if there is one."""
        return next((element for element in self.elements if element.name == name), None)

    def offset_of(self, wanted: Element) -> int:
        """Where a binary element's rows begin; no list property may stand on the way there.

        Raises:
            FileError: the file is shorter than the rows of it or of an element before it need.
        """
        offset = self.data_offset
        for element in self.elements:
            need = element.count * element.dtype(self.order).itemsize
            if offset + need > self.file_bytes:
                found = f"element '{element.name}' claims {element.count} rows ({need} bytes), the file has {self.file_bytes - offset} left"
                raise FileError(self.path, found, TRUNCATED)
            if element is wanted:
                return offset
            offset += need
        raise AssertionError(f"element {wanted.name} is not of this header")


def _header_lines(path: Path, head: bytes) -> tuple[list[str], int]:
    """The header's lines without "ply" and "end_header", and the offset of the data. Lines end in LF, CR LF or CR."""
    first = next((c for c in head[3:] if c in b"\r\n"), 0)
    ending = b"\r" if first == 0x0D and head[3:].lstrip(b" \t")[1:2] != b"\n" else b"\n"
    lines: list[str] = []
    start = 0
    while (end := head.find(ending, start)) >= 0:
        line = head[start:end].decode("latin-1").strip()
        start = end + 1
        if line == "end_header":
            return lines[1:], start
        lines.append(line)
    raise FileError(path, f"no 'end_header' within the first {len(head)} bytes, expected a PLY header", TRUNCATED)


def _parse_element(path: Path, words: list[str]) -> Element:
    if len(words) != 3 or not words[2].isascii() or not words[2].isdigit() or len(words[2]) > 18:
        raise FileError(path, f"header line '{' '.join(words)[:80]}' should be 'element NAME COUNT'", DAMAGED)
    return Element(words[1], int(words[2]))


def _parse_property(path: Path, words: list[str], element: Element | None) -> None:
    line = " ".join(words)[:80]
    if element is None:
        raise FileError(path, f"header line '{line}' stands before any 'element'", DAMAGED)
    is_list = words[1:2] == ["list"]
    types = words[2:4] if is_list else words[1:2]
    if len(words) != (5 if is_list else 3) or any(t not in SCALAR_TYPES for t in types):
        raise FileError(path, f"header line '{line}' is no property with a known type, e.g. 'property float x'", DAMAGED)
    name = words[-1]
    if name in element.scalars or name in element.lists:
        raise FileError(path, f"property '{name}' of element '{element.name}' is declared twice", DAMAGED)
    if is_list:
        element.lists[name] = (SCALAR_TYPES[types[0]], SCALAR_TYPES[types[1]])
    else:
        element.scalars[name] = SCALAR_TYPES[types[0]]


def read_header(path: Path) -> Header:
    """Parse the header of a PLY file.

    Raises:
        FileError: cannot be read, not PLY, a line that PLY does not know, an unknown format.
    """
    with reading(path), path.open("rb") as file:
        head = file.read(MAX_HEADER_BYTES)
        file_bytes = file.seek(0, 2)
    if not head.startswith(b"ply"):
        raise FileError(path, "does not begin with 'ply', expected a PLY file", "Choose another file")
    lines, data_offset = _header_lines(path, head)
    order: str | None = None
    elements: list[Element] = []
    for line in lines:
        words = line.split()
        keyword = words[0] if words else "comment"
        if keyword == "format":
            order = BYTE_ORDERS.get(words[1]) if len(words) == 3 else None
            if order is None or words[2] != "1.0":
                raise FileError(path, f"header line '{line[:80]}' is no known format", "Expected ascii or binary, version 1.0")
        elif keyword == "element":
            elements.append(_parse_element(path, words))
        elif keyword == "property":
            _parse_property(path, words, elements[-1] if elements else None)
        elif keyword not in ("comment", "obj_info"):
            raise FileError(path, f"header line '{line[:80]}' is not PLY", DAMAGED)
    if order is None:
        raise FileError(path, "header has no 'format' line", DAMAGED)
    if len({element.name for element in elements}) != len(elements):
        raise FileError(path, "header declares an element twice", DAMAGED)
    return Header(path, order, tuple(elements), data_offset, file_bytes)
