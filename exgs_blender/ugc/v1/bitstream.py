# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections of version 1."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np

from ...errors import ExgsError, FileError
from ...splats import MAX_SH_DEGREE, Gaussians
from ...splats.gaussians import SH_COEFFICIENTS
from ..container import HINT
from .entropy import I64, decode_channels, unpack_bits
from .quantise import MAX_POSITION_BITS, Contraction, Quantised, Steps, cells_from_codes, dequantise

GAUSSIANS_PER_BYTE = 8
"""A file holds at most this many Gaussians per byte of itself (short files are padded): bounds what a hostile count can allocate."""
CHANNELS = {"position": 1, "scale": 3, "rotation": 3, "opacity": 1, "colour": 3}


def decode_gaussians(sections: dict[str, bytes], file_bytes: int, name: str) -> tuple[Gaussians, dict[str, Any]]:
    """The cloud of a file taken apart, and its metadata; ``name`` is the file's, for messages.

    Raises:
        FileError: a section whose content does not fit; names the section.
    """
    meta = _checked_meta(sections, file_bytes, name)
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
    with np.errstate(over="ignore", invalid="ignore"):
        return dequantise(quantised), meta["metadata"]


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
