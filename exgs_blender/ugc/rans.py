# SPDX-License-Identifier: GPL-3.0-or-later
"""Interleaved range-variant asymmetric numeral systems with static tables; numpy only.

Asymmetric numeral systems (Duda 2013) decode with table look-ups; many lanes that share one word stream (Giesen 2014) let
numpy do a lane-wide step at once. Element e of a channel belongs to lane e mod L, so a step reads and writes contiguous
memory, and a plain decoder is a plain loop. The layout is specified in docs/exgs-format.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
U16 = NDArray[np.uint16]

SCALE_BITS = 12
TOTAL = 1 << SCALE_BITS
STATE_LOW = 1 << 16
MAX_LANES = 4096
SEARCH_BITS = 10
CODES_PER_OCTAVE = 4
MAX_CODE = CODES_PER_OCTAVE * SCALE_BITS + 1


@cache
def _weights() -> I64:
    """[MAX_CODE + 1] what a table code stands for: 0, then 256 * 2^((code - 1) / 4), rounded down."""
    return np.floor(256.0 * 2.0 ** ((np.arange(MAX_CODE + 1) - 1) / CODES_PER_OCTAVE)).astype(np.int64) * (np.arange(MAX_CODE + 1) > 0)


def codes_from_counts(counts: NDArray[Any]) -> NDArray[np.uint8]:
    """[rows, alphabet] occurrences (whole or not) -> table codes, four an octave; an empty row gets its first symbol."""
    counts = counts.astype(np.float64)
    counts[counts.sum(axis=1) == 0, 0] = 1
    share = counts / counts.sum(axis=1, keepdims=True) * TOTAL
    code = np.rint(CODES_PER_OCTAVE * np.log2(np.maximum(share, 1.0))).astype(np.int64) + 1
    return np.where(counts > 0, code, 0).astype(np.uint8)


def frequencies_from_codes(codes: NDArray[np.uint8]) -> I64:
    """[rows, alphabet] table codes -> frequencies; every row sums to 2^12, every code above 0 gives at least 1.

    Raises:
        ExgsError: a code is too large, or a row is empty.
    """
    if codes.size and int(codes.max()) > MAX_CODE:
        raise ExgsError(f"a table holds the code {int(codes.max())}, at most {MAX_CODE} is allowed")
    used = codes > 0
    number = used.sum(axis=1, keepdims=True)
    if (number == 0).any():
        raise ExgsError("a row of a table is empty")
    sums = np.cumsum(_weights()[codes], axis=1)
    ends = sums * (TOTAL - number) // sums[:, -1:] + np.cumsum(used, axis=1)
    return np.diff(ends, axis=1, prepend=0)


@dataclass(frozen=True, eq=False)
class Decoder:
    """Tables of a channel as a stream decoder wants them.

    Attributes:
        packed: [rows * 2^12] per slot: frequency << 12 | slot - start of its symbol.
        symbols: [rows * 2^12] per slot.
    """

    packed: U32
    symbols: NDArray[np.uint16]

    @staticmethod
    def of(frequencies: I64) -> Decoder:
        """From frequencies [rows, alphabet]."""
        flat = frequencies.ravel().astype(np.int32)
        start = (np.cumsum(frequencies, axis=1) - frequencies).ravel().astype(np.int32)
        packed = np.repeat((flat << SCALE_BITS) - start, flat)
        packed.reshape(-1, TOTAL)[:] += np.arange(TOTAL, dtype=np.int32)
        numbers = np.arange(frequencies.shape[1], dtype=np.uint16)
        return Decoder(packed.view(np.uint32), np.repeat(np.tile(numbers, len(frequencies)), flat))


@dataclass(frozen=True, eq=False)
class Search:
    """Tables of a channel as the compiled decoder wants them: small enough for the fastest cache, at the price of a short search.

    Attributes:
        first: [rows * 2^10] symbol of the first slot of every four.
        ends: [rows * (alphabet + 1)] first slot of each symbol, then 2^12.
    """

    first: NDArray[np.uint16]
    ends: NDArray[np.uint16]

    @staticmethod
    def of(frequencies: I64, fill: Callable[[I64, NDArray[np.uint16], NDArray[np.uint16]], None]) -> Search:
        """From frequencies [rows, alphabet]; ``fill`` is ``decode_kernels.search_tables``."""
        rows, alphabet = frequencies.shape
        first, ends = np.empty((rows, 1 << SEARCH_BITS), np.uint16), np.empty((rows, alphabet + 1), np.uint16)
        fill(frequencies, first, ends)
        return Search(first.ravel(), ends.ravel())


def lanes_for(count: int) -> int:
    """Enough lanes for numpy to be busy. They cost little, since each carries two bytes home."""
    return int(np.clip(1 << max(int(count // 16).bit_length() - 1, 0), 4, MAX_LANES))


def encode_stream(channels: Sequence[tuple[U16, U16]], lanes: int, luggage: bytes) -> tuple[U32, NDArray[np.uint16]]:
    """Code channels, each (frequency, start) of every element in decoding order.

    Args:
        luggage: 2 * lanes bytes that the coder starts from, so that the decoder ends with them.

    Returns the start states [lanes] of the decoder and the words in reading order.
    """
    state = np.frombuffer(luggage, "<u2", lanes).astype(np.uint32) | np.uint32(STATE_LOW)
    emitted: list[NDArray[np.uint16]] = []
    shift, renorm, word_bits = np.uint32(SCALE_BITS), np.uint32(32 - SCALE_BITS), np.uint32(16)
    for frequency, start in reversed(channels):
        freqs, starts = frequency.astype(np.uint32), start.astype(np.uint32)
        for first in range((len(freqs) - 1) // lanes * lanes, -1, -lanes) if len(freqs) else ():
            freq, begin = freqs[first : first + lanes], starts[first : first + lanes]
            live = state[: len(freq)]
            full = np.flatnonzero((live >> renorm) >= freq)
            if len(full):
                emitted.append(live[full].astype(np.uint16))
                live[full] >>= word_bits
            quotient = live // freq
            live[:] = (quotient << shift) + (live - quotient * freq) + begin
    words = np.concatenate(emitted[::-1]) if emitted else np.zeros(0, np.uint16)
    return state, words


class StreamDecoder:
    """Reads channels back, one after another.

    Raises:
        ExgsError: from :meth:`finish` and :meth:`read`, where words are missing or left.
    """

    def __init__(self, states: U32, words: NDArray[np.uint16]) -> None:
        self._state = states.astype(np.uint32)
        self._words = words.astype(np.uint32)
        self._at = 0

    def read_compiled(self, kernel: Callable[..., int], *arguments: Any) -> None:
        """Let ``decode_kernels.read_channel`` read a channel.

        Raises:
            ExgsError: words are missing.
        """
        words = self._words if len(self._words) else np.zeros(1, np.uint32)
        self._at = kernel(self._state, words, self._at, *arguments)
        if self._at > len(self._words):
            raise ExgsError("coded stream ends early")

    def read(self, decoder: Decoder, rows: I64 | None, count: int) -> NDArray[np.uint16]:
        """``count`` symbols, all lanes at once; ``rows`` [count] is each one's table row << 12 (None: row 0)."""
        slots = np.empty(count, np.int64)
        lanes = len(self._state)
        packed = np.empty(lanes, np.uint32)
        mask, shift, low, word_bits = np.uint32(TOTAL - 1), np.uint32(SCALE_BITS), np.uint32(STATE_LOW), np.uint32(16)
        for first in range(0, count, lanes):
            slot = slots[first : first + lanes]
            state, code = self._state[: len(slot)], packed[: len(slot)]
            np.bitwise_and(state, mask, out=slot)
            if rows is not None:
                slot += rows[first : first + lanes]
            np.take(decoder.packed, slot, out=code, mode="clip")
            state >>= shift
            state *= code >> shift
            code &= mask
            state += code
            need = np.flatnonzero(state < low)
            end = self._at + len(need)
            if end > len(self._words):
                raise ExgsError("coded stream ends early")
            state[need] = (state[need] << word_bits) | self._words[self._at : end]
            self._at = end
        return decoder.symbols.take(slots)

    def finish(self) -> bytes:
        """The luggage; checks that the coder is back where it began.

        Raises:
            ExgsError: words are left, or a state is none to begin with.
        """
        if self._at != len(self._words) or (self._state >> np.uint32(16) != 1).any():
            raise ExgsError("coded stream does not end where its coder began")
        return self._state.astype("<u2").tobytes()
