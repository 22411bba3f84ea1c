# SPDX-License-Identifier: GPL-3.0-or-later
"""Integers of given bit lengths, back to back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError

I64 = NDArray[np.int64]
MAX_LENGTH = 57
"""Longest value: what a 64-bit window that starts at any bit of a byte surely holds."""


def pack_bits(values: NDArray[np.integer[Any]], lengths: NDArray[np.integer[Any]]) -> bytes:
    """The low ``lengths[i]`` (0 to 57) bits of each value, most significant bit first, without gaps; the last byte is padded with 0."""
    filled = lengths > 0
    length = lengths[filled].astype(np.uint64)
    value = values[filled].astype(np.uint64) & ((np.uint64(1) << length) - np.uint64(1))
    ends = np.cumsum(length, dtype=np.uint64)
    total = int(ends[-1]) if len(ends) else 0
    start = ends - length
    word, free = (start >> np.uint64(6)).astype(np.int64), np.uint64(64) - (start & np.uint64(63))
    words = np.zeros(total // 64 + 2, np.uint64)
    spills = length > free
    over = np.where(spills, length - free, np.uint64(0))
    here = np.where(spills, value >> over, value << (free - np.minimum(length, free)))
    if total:
        first = np.flatnonzero(np.diff(word, prepend=-1))
        words[word[first]] = np.bitwise_or.reduceat(here, first)
    # at most one value reaches from a word into the next
    words[word[spills] + 1] |= value[spills] << (np.uint64(64) - over[spills])
    return words.astype(">u8").tobytes()[: (total + 7) // 8]


def unpack_bits(data: bytes, lengths: NDArray[np.integer[Any]]) -> I64:
    """Inverse of :func:`pack_bits`.

    Raises:
        ExgsError: ``data`` holds another number of bytes than the lengths need.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    if len(data) != (total + 7) // 8:
        raise ExgsError(f"plain bits: {len(data)} bytes, expected {(total + 7) // 8}")
    start = ends - lengths
    windows: NDArray[np.uint64] = np.ndarray((len(data) + 1,), ">u8", data + bytes(8), strides=(1,))
    window = windows[start >> 3].astype(np.uint64)
    window <<= (start & 7).astype(np.uint64)
    window >>= (64 - np.maximum(lengths, 1)).astype(np.uint64)
    window[lengths == 0] = 0
    return window.view(np.int64)
