# SPDX-License-Identifier: GPL-3.0-or-later
"""The container of .exgs files of every version: named sections with a checksum each; docs/exgs-format.md."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import FileError

MAGIC = b"\x89EXGS\r\n\x1a"
VERSIONS = (1, 2)
HINT = "Copy or download the file again, or compress the capture again"
MAX_SECTIONS = 64
_HEADER = struct.Struct("<8sHHI")
_ENTRY = struct.Struct("<12sIQQ")


@dataclass(frozen=True)
class Container:
    """A file taken apart.

    Attributes:
        version: of the format.
        sections: name -> its bytes in the file, of those that are whole, in the file's order.
        lacking: names of sections that the file ends before or within; empty unless read as a prefix.
    """

    version: int
    sections: dict[str, memoryview]
    lacking: tuple[str, ...]


def write_container(sections: Mapping[str, bytes | memoryview], version: int = VERSIONS[-1]) -> bytes:
    """Named sections -> a file: header, table with a CRC-32 each, the sections back to back."""
    offset = _HEADER.size + _ENTRY.size * len(sections)
    table = b""
    for name, data in sections.items():
        table += _ENTRY.pack(name.encode("ascii"), zlib.crc32(data), offset, len(data))
        offset += len(data)
    start = MAGIC + struct.pack("<HH", version, len(sections))
    return b"".join((start, struct.pack("<I", zlib.crc32(start + table)), table, *sections.values()))


def overhead(sections: int) -> int:
    """Bytes of header and table."""
    return _HEADER.size + _ENTRY.size * sections


def read_container(data: bytes, name: str, *, partial: bool = False) -> Container:
    """A file -> its sections, all lengths and checksums verified.

    Args:
        partial: take what is there of a file that is still on its way.

    Raises:
        FileError: not an .exgs file, of another version, truncated, or a section does not match its checksum.
    """
    version, entries, end = _table(data, name)
    sections: dict[str, memoryview] = {}
    lacking: list[str] = []
    for raw_name, crc, offset, length in entries:
        section = raw_name.rstrip(b"\0").decode("ascii", "replace")
        if offset != end:
            raise FileError(name, f"section '{section}' does not begin where the one before ends", HINT)
        end = offset + length
        if end > len(data):
            if not partial:
                raise FileError(name, f"truncated: section '{section}' needs bytes up to {end}, the file has {len(data)}", HINT)
            lacking.append(section)
            continue
        sections[section] = memoryview(data)[offset:end]
        if zlib.crc32(sections[section]) != crc:
            raise FileError(name, f"section '{section}' does not match its checksum", HINT)
    if end < len(data):
        raise FileError(name, f"{len(data) - end} bytes follow the last section", HINT)
    return Container(version, sections, tuple(lacking))


def _table(data: bytes, name: str) -> tuple[int, list[tuple[bytes, int, int, int]], int]:
    """(version, entries of the section table, where it ends)."""
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        if data[:5] == MAGIC[:5]:
            raise FileError(name, "the header is damaged or truncated", HINT)
        raise FileError(name, "not an .exgs file (its first eight bytes are others)", "Give a file that 'exgs compress' wrote")
    _, version, count, crc = _HEADER.unpack_from(data)
    if version not in VERSIONS:
        known = " and ".join(str(v) for v in VERSIONS)
        raise FileError(name, f"is version {version} of the .exgs format, this program reads versions {known}", "Update ExGS")
    end = overhead(count)
    if count > MAX_SECTIONS or end > len(data):
        raise FileError(name, f"the section table is damaged or truncated ({count} sections, {len(data)} bytes)", HINT)
    table = data[_HEADER.size : end]
    if zlib.crc32(data[:12] + table) != crc:
        raise FileError(name, "the section table does not match its checksum", HINT)
    return version, list(_ENTRY.iter_unpack(table)), end
