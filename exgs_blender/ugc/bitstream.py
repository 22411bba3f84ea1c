# SPDX-License-Identifier: GPL-3.0-or-later
"""The .exgs container and its sections; docs/exgs-format.md is the specification. numpy and the standard library only."""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import asdict
from typing import Any

import numpy as np

from ..errors import ExgsError, FileError
from ..splats import MAX_SH_DEGREE
from ..splats.gaussians import SH_COEFFICIENTS
from .bits import I64, pack_bits, unpack_bits
from .entropy import decode_channels, encode_channels
from .quantise import MAX_POSITION_BITS, Contraction, Quantised, Steps, cells_from_codes, codes_from_cells

MAGIC = b"\x89EXGS\r\n\x1a"
VERSION = 1
HINT = "Copy or download the file again, or compress the capture again"
_HEADER = struct.Struct("<8sHHI")
_ENTRY = struct.Struct("<12sIQQ")
MAX_SECTIONS = 64
GAUSSIANS_PER_BYTE = 8
"""A file holds at most this many Gaussians per byte of itself (short files are padded): bounds what a hostile count can allocate."""
CHANNELS = {"position": 1, "scale": 3, "rotation": 3, "opacity": 1, "colour": 3}


def write_container(sections: dict[str, bytes]) -> bytes:
    """Named sections -> a file: header, table with a CRC-32 each, the sections back to back."""
    offset = _HEADER.size + _ENTRY.size * len(sections)
    table = b""
    for name, data in sections.items():
        table += _ENTRY.pack(name.encode("ascii"), zlib.crc32(data), offset, len(data))
        offset += len(data)
    start = MAGIC + struct.pack("<HH", VERSION, len(sections))
    return start + struct.pack("<I", zlib.crc32(start + table)) + table + b"".join(sections.values())


def read_container(data: bytes, name: str) -> dict[str, bytes]:
    """A file -> its sections, all lengths and checksums verified.

    Raises:
        FileError: not an .exgs file, of another version, truncated, or a section does not match its checksum.
    """
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        if data[:5] == MAGIC[:5]:
            raise FileError(name, "the header is damaged or truncated", HINT)
        raise FileError(name, "not an .exgs file (its first eight bytes are others)", "Give a file that 'exgs compress' wrote")
    _, version, count, crc = _HEADER.unpack_from(data)
    if version != VERSION:
        raise FileError(name, f"is version {version} of the .exgs format, this program reads version {VERSION}", "Update ExGS")
    end = _HEADER.size + count * _ENTRY.size
    if count > MAX_SECTIONS or end > len(data):
        raise FileError(name, f"the section table is damaged or truncated ({count} sections, {len(data)} bytes)", HINT)
    table = data[_HEADER.size : end]
    if zlib.crc32(data[:12] + table) != crc:
        raise FileError(name, "the section table does not match its checksum", HINT)
    sections: dict[str, bytes] = {}
    for raw_name, section_crc, offset, length in _ENTRY.iter_unpack(table):
        section = raw_name.rstrip(b"\0").decode("ascii", "replace")
        if offset < end or offset + length > len(data):
            raise FileError(name, f"truncated: section '{section}' needs bytes up to {offset + length}, the file has {len(data)}", HINT)
        sections[section] = data[offset : offset + length]
        if zlib.crc32(sections[section]) != section_crc:
            raise FileError(name, f"section '{section}' does not match its checksum", HINT)
        end = offset + length
    if end != len(data):
        raise FileError(name, f"{len(data) - end} bytes follow the last section", HINT)
    return sections


def encode_cloud(quantised: Quantised, metadata: dict[str, Any]) -> tuple[bytes, dict[str, int]]:
    """A rounded cloud and its metadata (JSON values) -> (file, bytes of each section)."""
    sections = {"meta": b""}
    sections["position"] = _encode_positions(quantised.cells)
    for field in ("scale", "rotation", "colour"):
        columns: I64 = getattr(quantised, field + "s")
        sections[field] = encode_channels([columns[:, i] for i in range(3)])
    sections["opacity"] = encode_channels([quantised.opacities])
    if quantised.sh.shape[1]:
        sections["sh"] = quantised.basis.astype("<i2").tobytes() + encode_channels(list(quantised.sh.T))
    sections["meta"] = _meta_bytes(quantised, metadata)
    missing = len(quantised) // GAUSSIANS_PER_BYTE - sum(map(len, sections.values()))
    if missing > 0:
        sections["padding"] = bytes(missing)
    return write_container(sections), {name: len(data) for name, data in sections.items()}


def decode_cloud(data: bytes, name: str) -> tuple[Quantised, dict[str, Any]]:
    """Inverse of :func:`encode_cloud`; ``name`` is the file's, for messages.

    Raises:
        FileError: anything that :func:`read_container` finds, or a section whose content does not fit; names the section.
    """
    sections = read_container(data, name)
    meta = _checked_meta(sections, len(data), name)
    count, steps, components = int(meta["count"]), Steps(**meta["steps"]), int(meta["sh_components"])
    decoded: dict[str, list[I64]] = {}
    rest = 3 * (SH_COEFFICIENTS[meta["sh_degree"]] - 1)
    basis, basis_bytes = np.zeros((0, rest), np.int16), 2 * components * rest
    for section, channels in {**CHANNELS, "sh": components}.items():
        if not channels:
            decoded[section] = []
            continue
        try:
            block = _section(sections, section)
            if section == "position":
                decoded[section] = [_decode_positions(block, count, steps.position_bits)]
                continue
            if section == "sh":
                if len(block) < basis_bytes:
                    raise ExgsError("its basis is incomplete")
                basis = np.frombuffer(block[:basis_bytes], "<i2").reshape(components, rest).astype(np.int16)
                block = block[basis_bytes:]
            decoded[section] = decode_channels(block, count, channels)
        except ExgsError as error:
            raise FileError(name, f"section '{section}': {error}", HINT) from error
    quantised = Quantised(
        steps=steps,
        contraction=_contraction(meta["contraction"]),
        sh_degree=meta["sh_degree"],
        cells=decoded["position"][0],
        scales=np.stack(decoded["scale"], axis=1),
        rotations=np.stack(decoded["rotation"], axis=1),
        opacities=decoded["opacity"][0],
        colours=np.stack(decoded["colour"], axis=1),
        sh=np.stack(decoded["sh"], axis=1) if components else np.zeros((count, 0), np.int64),
        basis=basis,
    )
    return quantised, meta["metadata"]


def _encode_positions(cells: I64) -> bytes:
    """Differences of consecutive Morton codes: the bit length through the tables, the bits below the leading one as they are."""
    codes = codes_from_cells(cells).astype(np.int64)
    deltas = np.diff(codes, prepend=0)
    lengths = _bit_lengths(deltas)
    return _with_length(encode_channels([lengths])) + pack_bits(deltas, np.maximum(lengths - 1, 0))


def _decode_positions(block: bytes, count: int, bits: int) -> I64:
    if len(block) < 4:
        raise ExgsError("is empty")
    (size,) = struct.unpack_from("<I", block)
    (lengths,) = decode_channels(block[4 : 4 + size], count, 1)
    if count and (lengths.min() < 0 or lengths.max() > 3 * bits):
        raise ExgsError("a position lies outside the grid")
    below = np.maximum(lengths - 1, 0)
    leading = np.where(lengths > 0, np.int64(1) << below, 0)
    codes = np.cumsum(unpack_bits(block[4 + size :], below) + leading)
    if count and (codes.min() < 0 or int(codes.max()) >> (3 * bits)):
        raise ExgsError("a position lies outside the grid")
    return cells_from_codes(codes.astype(np.uint64))


def _bit_lengths(values: I64) -> I64:
    """Bits needed for each value >= 0; 0 for 0."""
    lengths = np.zeros(len(values), np.int64)
    rest = values.copy()
    for shift in (32, 16, 8, 4, 2, 1):
        above = rest >> shift > 0
        lengths[above] += shift
        rest[above] >>= shift
    return lengths + (rest > 0)


def _with_length(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _meta_bytes(quantised: Quantised, metadata: dict[str, Any]) -> bytes:
    meta = {
        "count": len(quantised),
        "sh_degree": quantised.sh_degree,
        "sh_components": quantised.sh.shape[1],
        "steps": asdict(quantised.steps),
        "contraction": asdict(quantised.contraction),
        "metadata": metadata,
    }
    return json.dumps(meta, allow_nan=False, separators=(",", ":")).encode()


def _contraction(fields: dict[str, Any]) -> Contraction:
    (x, y, z), (a, b, c) = fields["centre"], fields["low"]
    return Contraction((x, y, z), fields["radius"], (a, b, c), fields["step"])


def _section(sections: dict[str, bytes], section: str) -> bytes:
    if section not in sections:
        raise ExgsError("is missing")
    return sections[section]


def _checked_meta(sections: dict[str, bytes], file_bytes: int, name: str) -> dict[str, Any]:
    """The metadata section, every value that sizes or scales something within its bounds."""
    try:
        meta = json.loads(_section(sections, "meta"))
        steps, contraction = meta["steps"], meta["contraction"]
        numbers = [contraction["radius"], contraction["step"], *contraction["centre"], *contraction["low"]]
        numbers += [steps["scale"], steps["rotation"], steps["colour"], steps["sh"]]
        whole = [meta["count"], meta["sh_degree"], meta["sh_components"], steps["position_bits"], steps["opacity_levels"]]
        if not all(isinstance(value, int) for value in whole) or not isinstance(meta["metadata"], dict):
            raise ExgsError("a count is not a whole number")
        if len(numbers) != 12 or not all(math.isfinite(value) for value in numbers):
            raise ExgsError("a number is missing or not finite")
        if not 0 <= meta["count"] <= GAUSSIANS_PER_BYTE * (file_bytes + 1):
            raise ExgsError(f"claims {meta['count']} Gaussians, more than {file_bytes} bytes can hold")
        if not 0 <= meta["sh_degree"] <= MAX_SH_DEGREE:
            raise ExgsError(f"sh_degree is {meta['sh_degree']}, expected 0 to {MAX_SH_DEGREE}")
        if not 0 <= meta["sh_components"] <= 3 * (SH_COEFFICIENTS[meta["sh_degree"]] - 1):
            raise ExgsError(f"sh_components is {meta['sh_components']}, too many for the degree")
        if not (1 <= steps["position_bits"] <= MAX_POSITION_BITS and 1 <= steps["opacity_levels"] <= 1 << 20):
            raise ExgsError("position_bits or opacity_levels is out of range")
        if set(steps) != set(Steps.__dataclass_fields__) or set(contraction) != set(Contraction.__dataclass_fields__):
            raise ExgsError("a field is unknown")
    except KeyError as error:
        raise FileError(name, f"section 'meta': lacks the field {error}", HINT) from error
    except (ValueError, TypeError, RecursionError, ExgsError) as error:
        raise FileError(name, f"section 'meta': {error}", HINT) from error
    return meta
