# SPDX-License-Identifier: GPL-3.0-or-later
"""SPZ containers: what the header claims, and the attribute bytes, decompressed into a size that is known before.

Versions 1 to 3 are one gzip stream (or, from some tools, plain bytes): a 16-byte header, then the attributes
one after another. Version 4 is a 32-byte plain header, vendor records, a table of (packed, unpacked) sizes and
one zstd stream an attribute. Source: nianticlabs/spz, README and extensions/README.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError, MissingDependencyError
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ._files import DAMAGED, TRUNCATED, read_bytes
from ._limits import check_claim, check_not_empty

MAGIC = b"NGSP"
GZIP_MAGIC = b"\x1f\x8b"
NEWEST_VERSION = 4
NEWEST_GZIP_VERSION = 3
FLAG_RECORDS = 0x02
FLAG_LOD_TREE = 0x80
MAX_RECORD_BYTES = 1 << 20
COORDINATE_RECORD = 0xADBE0003
RUB, RDF, LAST_UPRIGHT_SYSTEM = 4, 6, 8
RDF_FROM_RUB = (1, -1, -1)
COLOUR_SCALE = 0.15
"""Colour bytes are 255 * (0.5 + COLOUR_SCALE * f_dc)."""

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Header:
    """The fields that all versions share.

    Attributes:
        version: 1 to 4.
        count: Gaussians.
        sh_degree: 0 to 4.
        fractional_bits: of the fixed-point positions (version 2 and above).
        flags: bit 0 antialiased, bit 1 vendor records present, bit 7 a level-of-detail tree (Spark).
    """

    version: int
    count: int
    sh_degree: int
    fractional_bits: int
    flags: int

    def sizes(self) -> dict[str, int]:
        """Bytes of each attribute, in file order."""
        per_gaussian = {
            "positions": 6 if self.version == 1 else 9,
            "alphas": 1,
            "colors": 3,
            "scales": 3,
            "rotations": 3 if self.version < 3 else 4,
            "sh": 3 * (SH_COEFFICIENTS[self.sh_degree] - 1),
        }
        return {name: self.count * size for name, size in per_gaussian.items()}


@dataclass(frozen=True)
class Packed:
    """Quantised attributes.

    Attributes:
        header: the claims, checked.
        attributes: name -> bytes, each of the size that ``header.sizes()`` gives.
        flips: sign of each axis that brings the stored values to the axes of a PLY (right, down, forward).
    """

    header: Header
    attributes: dict[str, U8]
    flips: tuple[int, int, int]


def reference_signs(degree: int, flips: tuple[int, int, int]) -> F32:
    """[K-1, 1] where the reference library's mirroring differs from the harmonics': it lets the last of degree 4 follow y.

    All files come from that library or follow it, so doing the same gives back the coefficient that was packed.
    """
    signs = np.ones((SH_COEFFICIENTS[degree] - 1, 1), np.float32)
    if degree == 4:
        signs[-1] = flips[1]
    return signs


def _parse_header(path: Path, head: bytes, packed_bytes: int, newest: int) -> Header:
    if len(head) < 16:
        raise FileError(path, f"header has {len(head)} bytes, expected at least 16", TRUNCATED)
    if head[:4] != MAGIC:
        raise FileError(path, f"field 'magic' is {head[:4]!r}, expected b'NGSP'", "This is no SPZ file; choose another")
    version, count, sh_degree, fractional_bits, flags = struct.unpack_from("<IIBBB", head, 4)
    if not 1 <= version <= newest:
        raise FileError(path, f"field 'version' is {version}, expected 1 to {newest} here", "Export it again as version 3 or 4")
    check_claim(path, "numPoints", count, sh_degree, packed_bytes)
    check_not_empty(path, "numPoints", count)
    if fractional_bits > 31:
        raise FileError(path, f"field 'fractionalBits' is {fractional_bits}, expected 0 to 31", DAMAGED)
    if flags & FLAG_LOD_TREE:
        raise FileError(path, "field 'flags' says that it holds a level-of-detail tree", "Export the capture without levels of detail")
    return Header(version, count, sh_degree, fractional_bits, flags)


def _split(header: Header, body: bytes) -> dict[str, U8]:
    attributes: dict[str, U8] = {}
    offset = 0
    for name, size in header.sizes().items():
        attributes[name] = np.frombuffer(body, np.uint8, size, offset)
        offset += size
    return attributes


def _flips(path: Path, header: Header, records: bytes) -> tuple[int, int, int]:
    """Signs from the stored axes to those of a PLY. Right-up-back unless a vendor record names other axes.

    Numbering of the axis systems less one: bit 0 right, bit 1 up, bit 2 forward; above 8 the axes are also exchanged.
    """
    system, offset = RUB, 0
    while header.flags & FLAG_RECORDS and offset + 8 <= len(records):
        kind, size = struct.unpack_from("<II", records, offset)
        if kind == COORDINATE_RECORD and size >= 4 and offset + 12 <= len(records):
            system = struct.unpack_from("<I", records, offset + 8)[0] or RUB
        offset += 8 + size
    if system > LAST_UPRIGHT_SYSTEM:
        raise FileError(
            path, f"record 'coordinate system' is {system}, expected 0 to {LAST_UPRIGHT_SYSTEM}", "Export it with the usual axes"
        )
    differ = (system - 1) ^ (RDF - 1)
    return (-1 if differ & 1 else 1, -1 if differ & 2 else 1, -1 if differ & 4 else 1)


def _whole(path: Path, header: Header, body: bytes) -> Packed:
    """Versions 1 to 3 after decompression: attributes, then vendor records if the flag says so."""
    need = sum(header.sizes().values())
    if len(body) < need:
        raise FileError(path, f"field 'numPoints' claims {header.count} Gaussians ({need} bytes), the data has {len(body)}", TRUNCATED)
    if len(body) > need and not header.flags & FLAG_RECORDS:
        raise FileError(path, f"holds more than the {need} bytes that field 'numPoints' = {header.count} asks for", DAMAGED)
    return Packed(header, _split(header, body), _flips(path, header, body[need:]))


def _read_gzip(path: Path, data: bytes) -> Packed:
    stream = zlib.decompressobj(wbits=31)  # 31: gzip, its checksums verified
    try:
        head = stream.decompress(data, 16)
        if stream.eof and len(head) < 16:
            raise FileError(path, f"unpacks to {len(head)} bytes, expected a header of 16", "This is no SPZ file; choose another")
        header = _parse_header(path, head, len(data), NEWEST_GZIP_VERSION)
        limit = sum(header.sizes().values()) + (MAX_RECORD_BYTES if header.flags & FLAG_RECORDS else 1)
        body = stream.decompress(stream.unconsumed_tail, limit)
        while not stream.eof and stream.unconsumed_tail and len(body) < limit:
            body += stream.decompress(stream.unconsumed_tail, limit - len(body))
    except zlib.error as error:
        raise FileError(path, f"gzip stream is damaged ({error})", "Copy or export the file again") from error
    if not stream.eof and len(body) < limit:
        raise FileError(path, f"gzip stream ends early, after {len(head) + len(body)} unpacked bytes", TRUNCATED)
    if not stream.eof and header.flags & FLAG_RECORDS:  # the checksum at the end was not reached
        raise FileError(path, f"vendor records take more than {MAX_RECORD_BYTES} bytes", DAMAGED)
    return _whole(path, header, body)


def _unpack_stream(path: Path, name: str, packed: bytes, size: int) -> U8:
    """One zstd stream that must give exactly ``size`` bytes."""
    try:
        import zstandard
    except ImportError:
        raise MissingDependencyError("zstandard", "reading SPZ version 4") from None
    try:
        content = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed).read(size + 1)
    except zstandard.ZstdError as error:
        raise FileError(path, f"stream '{name}' cannot be unpacked ({error})", DAMAGED) from error
    if len(content) != size:
        difference = "more" if len(content) > size else "less"
        raise FileError(path, f"stream '{name}' unpacks to {difference} than the {size} bytes that it claims", DAMAGED)
    return np.frombuffer(content, np.uint8)


def _read_zstd(path: Path, header: Header, data: bytes) -> Packed:
    sizes = {name: size for name, size in header.sizes().items() if size}
    if len(data) < 32:
        raise FileError(path, f"header has {len(data)} bytes, expected 32", TRUNCATED)
    streams, table = data[15], struct.unpack_from("<I", data, 16)[0]
    if streams != len(sizes):
        raise FileError(path, f"field 'numStreams' is {streams}, expected {len(sizes)} at SH degree {header.sh_degree}", DAMAGED)
    offset = table + 16 * streams
    if table < 32 or offset > len(data):
        raise FileError(
            path, f"field 'tocByteOffset' is {table}: a table of {streams} streams there is outside the {len(data)} bytes", DAMAGED
        )
    attributes = {name: np.zeros(0, np.uint8) for name in header.sizes()}
    for index, (name, size) in enumerate(sizes.items()):
        packed, unpacked = struct.unpack_from("<QQ", data, table + 16 * index)
        if unpacked != size:
            raise FileError(path, f"stream '{name}' claims {unpacked} bytes, expected {size} for {header.count} Gaussians", DAMAGED)
        if packed > len(data) - offset:
            raise FileError(path, f"stream '{name}' claims {packed} packed bytes, the file has {len(data) - offset} left", TRUNCATED)
        attributes[name] = _unpack_stream(path, name, data[offset : offset + packed], size)
        offset += packed
    return Packed(header, attributes, _flips(path, header, data[32:table]))


def read_container(path: Path) -> Packed:
    """Unpack any version of SPZ.

    Raises:
        FileError: unreadable, no SPZ, too new, damaged, or not of the size that its header claims.
        MissingDependencyError: version 4 without zstandard.
    """
    data = read_bytes(path)
    if data[:2] == GZIP_MAGIC:
        return _read_gzip(path, data)
    header = _parse_header(path, data, len(data), NEWEST_VERSION)
    if header.version == NEWEST_VERSION:
        return _read_zstd(path, header, data)
    return _whole(path, header, data[16:])
