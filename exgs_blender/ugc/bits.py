# SPDX-License-Identifier: GPL-3.0-or-later
"""Integers of given bit lengths, back to back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError

I64 = NDArray[np.int64]


def pack_bits(values: I64, lengths: I64) -> bytes:
    """The low ``lengths[i]`` bits of each value, most significant bit first, without gaps; the last byte is padded with 0."""
    element, place = _bit_places(lengths)
    return np.packbits(((values[element] >> place) & 1).astype(np.uint8)).tobytes()


def unpack_bits(data: bytes, lengths: I64) -> I64:
    """Inverse of :func:`pack_bits`.

    Raises:
        ExgsError: ``data`` holds another number of bytes than the lengths need.
    """
    total = int(lengths.sum())
    if len(data) != (total + 7) // 8:
        raise ExgsError(f"plain bits: {len(data)} bytes, expected {(total + 7) // 8}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=total).astype(np.int64)
    _, place = _bit_places(lengths)
    values = np.zeros(len(lengths), np.int64)
    starts = np.cumsum(lengths) - lengths
    filled = lengths > 0
    if total:
        values[filled] = np.add.reduceat(bits << place, starts[filled])
    return values


def _bit_places(lengths: I64) -> tuple[I64, I64]:
    """For every bit: its element, and its weight's exponent."""
    element = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.cumsum(lengths)
    return element, ends[element] - 1 - np.arange(len(element))
