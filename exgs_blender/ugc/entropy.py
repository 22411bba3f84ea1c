# SPDX-License-Identifier: GPL-3.0-or-later
"""Entropy coding of integer channels: interleaved rANS with static, context-dependent tables. numpy and lzma only.

Quantised splat attributes are noise with skewed histograms: there is little for a dictionary coder to find,
and an arithmetic coder that knows each histogram is at or below the size of the best of them. Asymmetric numeral systems
(Duda 2013) decode with table look-ups; many lanes that share one word stream (Giesen 2014) let numpy do a
lane-wide step at once. The layout is specified in docs/exgs-format.md.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError
from .bits import I64, pack_bits, unpack_bits

U64 = NDArray[np.uint64]

SCALE_BITS = 14
TOTAL = 1 << SCALE_BITS
STATE_LOW = 1 << 16
MAX_CODED_BITS = 10
MAX_LANES = 4096
NO_CONTEXT, PREVIOUS, FIRST_CHANNEL = 0, 1, 2
CONTEXT_CLASSES = (8, 16, 32)
TABLE_ENTRY_BITS = 9.0
"""What a table entry costs about; keeps the choice of contexts honest for small clouds."""
ESTIMATE_FROM = 1 << 18
_HEADER = struct.Struct("<HHIII")
_CHANNEL = struct.Struct("<iHBBB")
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 20, "lc": 0, "lp": 1, "pb": 1}]


@dataclass(frozen=True, eq=False)
class _Coded:
    """A channel split into what the tables code and what goes as plain bits."""

    low: int
    raw_bits: int
    alphabet: int
    symbols: I64
    raw: I64
    context_kind: int = NO_CONTEXT
    classes: int = 1


def encode_channels(channels: Sequence[I64]) -> bytes:
    """Integer channels, each [N] (any int32 values), -> one block.

    A channel may use its own previous value or any earlier channel as its context; the cheapest is chosen.
    """
    count = len(channels[0]) if channels else 0
    lanes = _lanes_for(count)
    coded: list[_Coded] = []
    for values in channels:
        coded.append(_with_context(_split(values), coded, lanes))
    contexts = [_contexts(c, coded, lanes) for c in coded]
    tables = [_table(c, k) for c, k in zip(coded, contexts, strict=True)]
    states, words = _encode_words(coded, contexts, tables, lanes)
    raw = b"".join(_pack_fixed(c.raw, c.raw_bits) for c in coded)
    packed = lzma.compress(b"".join(t.astype("<u2").tobytes() for t in tables), format=lzma.FORMAT_RAW, filters=_FILTERS)
    heads = b"".join(_CHANNEL.pack(c.low, c.alphabet, c.raw_bits, c.context_kind, c.classes) for c in coded)
    head = _HEADER.pack(len(coded), lanes, len(packed), len(words), len(raw))
    return head + heads + packed + states.astype("<u4").tobytes() + words.astype("<u2").tobytes() + raw


def decode_channels(block: bytes, count: int, expected: int) -> list[I64]:
    """Inverse of :func:`encode_channels`: ``count`` values a channel.

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


def _lanes_for(count: int) -> int:
    """Enough lanes for numpy to be busy, few enough for their final states (4 B each) not to matter."""
    return int(np.clip(1 << max(int(count // 256).bit_length() - 1, 0), 4, MAX_LANES))


def _split(values: I64) -> _Coded:
    low = int(values.min()) if len(values) else 0
    symbols = values.astype(np.int64) - low
    bits = int(symbols.max()).bit_length() if len(values) else 0
    raw_bits = max(bits - MAX_CODED_BITS, 0)
    high = symbols >> raw_bits
    return _Coded(low, raw_bits, int(high.max()) + 1 if len(values) else 1, high, symbols & ((1 << raw_bits) - 1))


def _with_context(channel: _Coded, earlier: list[_Coded], lanes: int) -> _Coded:
    """The channel with the context whose estimated size is smallest."""
    stride = max(1, len(channel.symbols) // ESTIMATE_FROM)
    best, best_bits = channel, _estimate(channel, np.zeros(len(channel.symbols), np.int64), stride)
    if channel.alphabet == 1:
        return best
    for kind in (PREVIOUS, *range(FIRST_CHANNEL, FIRST_CHANNEL + len(earlier))):
        if kind >= FIRST_CHANNEL and earlier[kind - FIRST_CHANNEL].alphabet == 1:
            continue
        for classes in CONTEXT_CLASSES:
            candidate = _Coded(channel.low, channel.raw_bits, channel.alphabet, channel.symbols, channel.raw, kind, classes)
            bits = _estimate(candidate, _contexts(candidate, [*earlier, candidate], lanes), stride)
            if bits < best_bits:
                best, best_bits = candidate, bits
    return best


def _contexts(channel: _Coded, channels: Sequence[_Coded], lanes: int) -> I64:
    """[N] context class of each symbol."""
    if channel.context_kind == NO_CONTEXT:
        return np.zeros(len(channel.symbols), np.int64)
    if channel.context_kind == PREVIOUS:
        steps = -(-len(channel.symbols) // lanes)
        previous = np.concatenate([[0], channel.symbols[:-1]]) if len(channel.symbols) else channel.symbols
        previous[::steps] = 0
        return _classes(previous, channel.alphabet, channel.classes)
    other = channels[channel.context_kind - FIRST_CHANNEL]
    return _classes(other.symbols, other.alphabet, channel.classes)


def _classes(symbols: I64, alphabet: int, classes: int) -> I64:
    return symbols * classes // alphabet


def _estimate(channel: _Coded, contexts: I64, stride: int) -> float:
    """Bits of the channel with these contexts, tables included."""
    joint = np.bincount(contexts[::stride] * channel.alphabet + channel.symbols[::stride], minlength=channel.classes * channel.alphabet)
    table = joint.reshape(channel.classes, channel.alphabet).astype(np.float64)
    rows = table.sum(axis=1)
    entropy = np.sum(rows[rows > 0] * np.log2(rows[rows > 0])) - np.sum(table[table > 0] * np.log2(table[table > 0]))
    return float(entropy) * stride + TABLE_ENTRY_BITS * float(np.count_nonzero(table))


def _table(channel: _Coded, contexts: I64) -> I64:
    """[classes, alphabet] frequencies; each row sums to 2^14 and no symbol that occurs has frequency 0."""
    joint = np.bincount(contexts * channel.alphabet + channel.symbols, minlength=channel.classes * channel.alphabet)
    table = joint.reshape(channel.classes, channel.alphabet)
    rows = np.maximum(table.sum(axis=1, keepdims=True), 1)
    freq = np.where(table > 0, np.maximum(np.rint(table * (TOTAL / rows)), 1), 0).astype(np.int64)
    for row in freq:
        if not row.any():
            row[0] = TOTAL
            continue
        while (excess := int(row.sum()) - TOTAL) != 0:
            top = int(row.argmax())
            row[top] -= min(excess, int(row[top]) // 2) if excess > 0 else excess
    return freq


def _encode_words(coded: Sequence[_Coded], contexts: Sequence[I64], tables: Sequence[I64], lanes: int) -> tuple[U64, U64]:
    """rANS from the last symbol to the first. Returns the final states [lanes] and the words in reading order."""
    state = np.full(lanes, STATE_LOW, np.uint64)
    emitted: list[U64] = []
    scale, shift16, mask16 = np.uint64(SCALE_BITS), np.uint64(16), np.uint64(0xFFFF)
    for channel, context, table in reversed(list(zip(coded, contexts, tables, strict=True))):
        start = np.cumsum(table, axis=1) - table
        cell = context * channel.alphabet + channel.symbols
        freqs = _by_step(table.ravel()[cell], lanes, TOTAL).astype(np.uint64)
        starts = _by_step(start.ravel()[cell], lanes, 0).astype(np.uint64)
        for freq, begin in zip(freqs[::-1], starts[::-1], strict=True):
            full = state >= (freq << np.uint64(32 - SCALE_BITS))
            if full.any():
                emitted.append(state[full] & mask16)
                state = np.where(full, state >> shift16, state)
            quotient = state // freq
            state = (quotient << scale) + (state - quotient * freq) + begin
    words = np.concatenate(emitted[::-1]) if emitted else np.zeros(0, np.uint64)
    return state, words


def _by_step(values: I64, lanes: int, padding: int) -> I64:
    """[N] -> [steps, lanes]: lane l holds elements l * steps onwards; a pad of full frequency costs nothing."""
    steps = -(-len(values) // lanes)
    padded = np.full(steps * lanes, padding, np.int64)
    padded[: len(values)] = values
    return padded.reshape(lanes, steps).T


def _checked_head(index: int, heads: Sequence[tuple[int, int, int, int, int]]) -> _Coded:
    low, alphabet, raw_bits, kind, classes = heads[index]
    kind_fits = kind < FIRST_CHANNEL + index and (kind != NO_CONTEXT or classes == 1)
    if not (1 <= alphabet <= 1 << MAX_CODED_BITS and raw_bits <= 32 and kind_fits and 1 <= classes <= max(CONTEXT_CLASSES)):
        raise ExgsError(f"coded block: channel {index} has an impossible header")
    nothing = np.zeros(0, np.int64)
    return _Coded(low, raw_bits, alphabet, nothing, nothing, kind, classes)


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


def _pack_fixed(values: I64, bits: int) -> bytes:
    return pack_bits(values, np.full(len(values), bits, np.int64)) if bits else b""


def _unpack_fixed(data: bytes, bits: int, count: int) -> I64:
    return unpack_bits(data, np.full(count, bits, np.int64)) if bits else np.zeros(count, np.int64)
