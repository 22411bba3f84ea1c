# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing SPZ: each attribute quantised in pieces, into one gzip stream (versions 1 to 3) or a zstd stream each (4)."""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..errors import ExgsError, MissingDependencyError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import opacity_from_logit, unit_quats
from ..splats.spherical_harmonics import sh_signs
from ..splats.transforms import quat_signs
from ._smallest_three import SQRT2, largest_and_rest
from ._spz_container import COLOUR_SCALE, MAGIC, NEWEST_GZIP_VERSION, NEWEST_VERSION, RDF_FROM_RUB, U8, Header, reference_signs

CHUNK = 1 << 16
FRACTIONAL_BITS = 12
"""Of positions, as the reference library writes them: steps of 1/4096 of a unit, positions below 2048 units."""
SMALLEST_PART = 1 / 32768
"""Small captures get more fractional bits, so that a step is at most this part of their largest coordinate."""
MOST_FRACTIONAL_BITS = 24
SH1_BITS, SH_REST_BITS = 5, 4
"""Significant bits of SH coefficients of degree 1 and above it, as the reference library writes them by default."""
ZSTD_LEVEL = 9
DEFLATE_LEVEL = 6
STRATEGIES = (zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY)
"""Runs alone are found five times as fast as repeated strings, and captures rarely have any; the first piece of an attribute decides."""
GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
"""Deflate, no time, no name, system unknown (RFC 1952)."""
DEFLATE_END = b"\x03\x00"
"""An empty last block (RFC 1951)."""


def write_spz(path: Path, gaussians: Gaussians, version: int, report: Report = silent) -> None:
    """Write one version of SPZ; atomic.

    Raises:
        ExgsError: no such version, or a position beyond what it can hold.
        FileError: the file cannot be written.
        MissingDependencyError: version 4 without zstandard.
    """
    if not 1 <= version <= NEWEST_VERSION:
        raise ExgsError(f"{path}: SPZ version {version} does not exist; choose 1 to {NEWEST_VERSION}")
    bits = _fractional_bits(path, gaussians, version)
    header = Header(version, len(gaussians), gaussians.sh_degree, bits, 0)
    pieces = _zstd_file(gaussians, header, report) if version > NEWEST_GZIP_VERSION else _gzip_file(gaussians, header, report)
    with atomic_path(path) as part, part.open("wb") as file:
        file.writelines(pieces)
    report("writing SPZ", 1.0)


def _fractional_bits(path: Path, gaussians: Gaussians, version: int) -> int:
    """As many as the reference library takes; fewer where positions are too large for them, more for small captures."""
    largest = max(float(np.abs(gaussians.means).max()), 1e-30)
    limit = 65504.0 if version == 1 else float(2**23 - 1)
    if largest > limit:
        raise ExgsError(f"{path}: SPZ version {version} holds positions up to {limit:g}, the capture has {largest:g}")
    room = math.floor(math.log2(limit / largest))
    wanted = max(FRACTIONAL_BITS, math.ceil(-math.log2(largest * SMALLEST_PART)))
    return max(0, min(room, wanted, MOST_FRACTIONAL_BITS))


def _header_bytes(header: Header, streams: int = 0) -> bytes:
    return MAGIC + struct.pack("<IIBBBB", header.version, header.count, header.sh_degree, header.fractional_bits, header.flags, streams)


def _zstd_file(gaussians: Gaussians, header: Header, report: Report) -> Iterator[bytes]:
    """Version 4: header, table of (packed, unpacked) sizes, one stream an attribute."""
    try:
        import zstandard
    except ImportError:
        raise MissingDependencyError("zstandard", "writing SPZ version 4") from None
    streams: list[bytes] = []
    sizes = {name: size for name, size in header.sizes().items() if size}
    for name in sizes:
        packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL, threads=-1).compressobj(size=sizes[name])
        streams.append(b"".join([*(packer.compress(piece) for piece in _attribute(gaussians, header, name, report)), packer.flush()]))
    table = b"".join(struct.pack("<QQ", len(s), size) for s, size in zip(streams, sizes.values(), strict=True))
    yield _header_bytes(header, len(streams)) + struct.pack("<I12x", 32) + table
    yield from streams


def _gzip_file(gaussians: Gaussians, header: Header, report: Report) -> Iterator[bytes]:
    """Versions 1 to 3: one gzip member (RFC 1952) of pieces that several threads compress, each on its own (RFC 1951 lets them join)."""
    head = _header_bytes(header)
    checksum, size = zlib.crc32(head), len(head)
    yield GZIP_HEADER + _deflated(head, zlib.Z_DEFAULT_STRATEGY)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for name in header.sizes():
            pieces = _attribute(gaussians, header, name, report)
            first = next(pieces)
            strategy = min(STRATEGIES, key=lambda strategy: len(_deflated(first, strategy)))
            for piece, packed in _mapped(pool, partial(_deflated, strategy=strategy), chain([first], pieces)):
                checksum, size = zlib.crc32(piece, checksum), size + len(piece)
                yield packed
    yield DEFLATE_END + struct.pack("<II", checksum, size & 0xFFFFFFFF)


def _deflated(piece: bytes, strategy: int) -> bytes:
    """Whole blocks that end on a byte and refer to nothing before them, so that they can stand after any others."""
    packer = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
    return packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)


def _mapped(pool: ThreadPoolExecutor, work: Callable[[bytes], bytes], pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """(piece, work(piece)) in order, with no more pieces ahead than keep the threads busy."""
    ahead: deque[tuple[bytes, Future[bytes]]] = deque()
    for piece in pieces:
        ahead.append((piece, pool.submit(work, piece)))
        if len(ahead) > (os.cpu_count() or 1):
            done, packed = ahead.popleft()
            yield done, packed.result()
    yield from ((done, packed.result()) for done, packed in ahead)


def _attribute(gaussians: Gaussians, header: Header, name: str, report: Report) -> Iterator[bytes]:
    """The bytes of one attribute, a piece at a time, in the file's axes."""
    names = list(header.sizes())
    for start in range(0, header.count, CHUNK):
        report("writing SPZ", (names.index(name) + start / header.count) / len(names))
        yield PACKERS[name](gaussians.select(slice(start, start + CHUNK)), header).tobytes()


def _bytes(values: NDArray[np.floating[Any]]) -> U8:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _pack_positions(piece: Gaussians, header: Header) -> NDArray[Any]:
    means = piece.means * np.array(RDF_FROM_RUB, np.float32)
    if header.version == 1:
        return means.astype("<f2")
    fixed = np.round(means.astype(np.float64) * 2.0**header.fractional_bits)
    return fixed.astype("<i4").reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3]


def _pack_rotations(piece: Gaussians, header: Header) -> NDArray[Any]:
    """Versions 1 and 2: x, y, z of the quaternion with w >= 0. Later: the smallest three of xyzw as sign and 9 bits."""
    quats = piece.quats * quat_signs(RDF_FROM_RUB)
    if header.version < 3:
        unit = unit_quats(quats)
        return _bytes(unit[:, 1:] * np.where(unit[:, :1] < 0, np.float32(-127.5), np.float32(127.5)) + 127.5)
    largest, rest = largest_and_rest(quats[:, [1, 2, 3, 0]])
    fields = np.round(np.abs(rest) * (511 * SQRT2)).astype(np.uint32) | ((rest < 0).astype(np.uint32) << np.uint32(9))
    shifts = np.array([20, 10, 0], np.uint32)
    return ((largest.astype(np.uint32) << np.uint32(30)) | (fields << shifts).sum(axis=1, dtype=np.uint32)).astype("<u4")


def _pack_sh(piece: Gaussians, header: Header) -> U8:
    """Bytes around 128, rounded to the middle of steps, which pack better than the exact ones."""
    step = np.full((piece.shN.shape[1], 1), 1 << (8 - SH_REST_BITS), np.float32)
    step[:3] = 1 << (8 - SH1_BITS)
    signs = sh_signs(header.sh_degree, RDF_FROM_RUB)[:, None] * reference_signs(header.sh_degree, RDF_FROM_RUB)
    steps = piece.shN * (128 / step * signs)
    steps += 128 / step
    np.round(steps, out=steps)
    steps *= step
    return np.clip(steps, 0, 255, out=steps).astype(np.uint8)


PACKERS: dict[str, Callable[[Gaussians, Header], NDArray[Any]]] = {
    "positions": _pack_positions,
    "alphas": lambda piece, _: _bytes(opacity_from_logit(piece.opacities) * 255),
    "colors": lambda piece, _: _bytes((piece.sh0 * COLOUR_SCALE + 0.5) * 255),
    "scales": lambda piece, _: _bytes((piece.scales + 10) * 16),
    "rotations": _pack_rotations,
    "sh": _pack_sh,
}
