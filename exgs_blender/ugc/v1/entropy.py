# SPDX-License-Identifier: GPL-3.0-or-later
"""The coded blocks of version 1: interleaved rANS with static, context-dependent tables; decoding only."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ExgsError

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

SCALE_BITS = 14
TOTAL = 1 << SCALE_BITS
STATE_LOW = 1 << 16
MAX_CODED_BITS = 10
MAX_LANES = 4096
NO_CONTEXT, PREVIOUS, FIRST_CHANNEL = 0, 1, 2
MAX_CLASSES = 32
_HEADER = struct.Struct("<HHIII")
_CHANNEL = struct.Struct("<iHBBB")
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 20, "lc": 0, "lp": 1, "pb": 1}]


@dataclass(frozen=True)
class _Coded:
    """A channel's head: how its values are split into what the tables code and what goes as plain bits."""

    low: int
    raw_bits: int
    alphabet: int
    context_kind: int
    classes: int


def decode_channels(block: bytes, count: int, expected: int) -> list[I64]:
    """The channels of one block, ``count`` values each.

    Raises:
        ExgsError: the block is not self-consistent (its checksum was right, so its writer is at fault).
    """
    try:
        return _decode(block, count, expected)
    except (struct.error, lzma.LZMAError, IndexError, ValueError) as error:
        raise ExgsError(f"coded block is malformed ({error})") from error


def _decode(block: bytes, count: int, expected: int) -> list[I64]:
    number, lanes, table_bytes, word_count, raw_bytes = _HEADER.unpack_from(block)
    if not 1 <= lanes <= MAX_LANES or number != expected:
        raise ExgsError(f"coded block has {number} channels and {lanes} lanes, expected {expected} and 1 to {MAX_LANES}")
    at = _HEADER.size + number * _CHANNEL.size
    heads = [_CHANNEL.unpack_from(block, _HEADER.size + i * _CHANNEL.size) for i in range(number)]
    if at + table_bytes + 4 * lanes + 2 * word_count + raw_bytes != len(block):
        raise ExgsError("coded block has another length than its header says")
    coded = [_checked_head(i, heads) for i in range(number)]
    tables = _unpack_tables(block[at : at + table_bytes], coded)
    at += table_bytes
    states = np.frombuffer(block, "<u4", lanes, at).astype(np.uint64)
    words = np.frombuffer(block, "<u2", word_count, at + 4 * lanes).astype(np.uint64)
    symbols = _decode_words(coded, tables, states, words, count)
    at += 4 * lanes + 2 * word_count
    result: list[I64] = []
    for c, s in zip(coded, symbols, strict=True):
        size = (count * c.raw_bits + 7) // 8
        if at + size > len(block):
            raise ExgsError("coded block ends within its plain bits")
        raw = _unpack_fixed(block[at : at + size], c.raw_bits, count)
        at += size
        result.append((s << c.raw_bits) + raw + c.low)
    return result


def _classes(symbols: I64, alphabet: int, classes: int) -> I64:
    return symbols * classes // alphabet


def _by_step(values: I64, lanes: int, padding: int) -> I64:
    """[N] -> [steps, lanes]: lane l holds elements l * steps onwards; a pad of full frequency costs nothing."""
    steps = -(-len(values) // lanes)
    padded = np.full(steps * lanes, padding, np.int64)
    padded[: len(values)] = values
    return padded.reshape(lanes, steps).T


def _checked_head(index: int, heads: Sequence[tuple[int, int, int, int, int]]) -> _Coded:
    low, alphabet, raw_bits, kind, classes = heads[index]
    kind_fits = kind < FIRST_CHANNEL + index and (kind != NO_CONTEXT or classes == 1)
    if not (1 <= alphabet <= 1 << MAX_CODED_BITS and raw_bits <= 32 and kind_fits and 1 <= classes <= MAX_CLASSES):
        raise ExgsError(f"coded block: channel {index} has an impossible header")
    return _Coded(low, raw_bits, alphabet, kind, classes)


def _unpack_tables(packed: bytes, coded: Sequence[_Coded]) -> list[I64]:
    size = 2 * sum(c.classes * c.alphabet for c in coded)
    data = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS).decompress(packed, max_length=size + 1)
    if len(data) != size:
        raise ExgsError("coded block: its tables have the wrong size")
    flat = np.frombuffer(data, "<u2").astype(np.int64)
    tables, at = [], 0
    for c in coded:
        table = flat[at : at + c.classes * c.alphabet].reshape(c.classes, c.alphabet)
        at += table.size
        if (table.sum(axis=1) != TOTAL).any():
            raise ExgsError("coded block: a table does not sum to 2^14")
        tables.append(table)
    return tables


def _decode_words(coded: Sequence[_Coded], tables: Sequence[I64], state: U64, words: U64, count: int) -> list[I64]:
    lanes, position = len(state), 0
    steps, none = -(-count // lanes), np.zeros(lanes, np.int64)
    low, scale, slot_mask, shift16 = np.uint64(STATE_LOW), np.uint64(SCALE_BITS), np.uint64(TOTAL - 1), np.uint64(16)
    decoded: list[I64] = []
    for channel, table in zip(coded, tables, strict=True):
        freq = table.ravel().astype(np.uint64)
        start = (np.cumsum(table, axis=1) - table).ravel().astype(np.uint64)
        # row c of the look-up: slot -> symbol; flat cell = c * alphabet + symbol
        cells = np.repeat(np.arange(table.size), table.ravel())
        out = np.empty((steps, lanes), np.int64)
        external = _external_contexts(channel, coded, decoded, lanes)
        for t in range(steps):
            lanes_left = (count - t + steps - 1) // steps  # the last lanes may be one short
            live = state[:lanes_left]
            if external is not None:
                context = external[t, :lanes_left]
            elif channel.context_kind == PREVIOUS and t:
                context = _classes(out[t - 1, :lanes_left], channel.alphabet, channel.classes)
            else:
                context = none[:lanes_left]
            slot = live & slot_mask
            cell = cells[(context << SCALE_BITS) + slot.astype(np.int64)]
            out[t, :lanes_left] = cell - context * channel.alphabet
            live = freq[cell] * (live >> scale) + slot - start[cell]
            need = live < low
            reads = int(np.count_nonzero(need))
            if reads:
                if position + reads > len(words):
                    raise ExgsError("coded block ends early")
                live[need] = (live[need] << shift16) | words[position : position + reads]
                position += reads
            state[:lanes_left] = live
        decoded.append(out.T.reshape(-1)[:count])
    if position != len(words) or (state != low).any():
        raise ExgsError("coded block does not end where its coder began")
    return decoded


def _external_contexts(channel: _Coded, coded: Sequence[_Coded], decoded: Sequence[I64], lanes: int) -> I64 | None:
    if channel.context_kind < FIRST_CHANNEL:
        return None
    other = channel.context_kind - FIRST_CHANNEL
    return _by_step(_classes(decoded[other], coded[other].alphabet, channel.classes), lanes, 0)


def _unpack_fixed(data: bytes, bits: int, count: int) -> I64:
    return unpack_bits(data, np.full(count, bits, np.int64)) if bits else np.zeros(count, np.int64)


def unpack_bits(data: bytes, lengths: I64) -> I64:
    """Integers of given bit lengths, most significant bit first, without gaps; the last byte is padded with 0.

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
