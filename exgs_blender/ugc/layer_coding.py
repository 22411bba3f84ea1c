# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers of a rounded cloud <-> bytes: the order of channels, their symbols and plain bits. See docs/exgs-format.md."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError
from .bits import pack_bits, unpack_bits
from .compiled import kernels_for
from .contexts import I64, NEIGHBOURS, U16, Earlier, Model, Surroundings, split
from .grid import Grid, codes_from_cells
from .quantise import I32, Quantised
from .rans import MAX_LANES, SCALE_BITS, Decoder, Search, StreamDecoder, encode_stream, lanes_for

LENGTH, SCALE, OPACITY, ROTATION, COLOUR, ACTIVE, SH = 0, 1, 4, 5, 8, 11, 12
"""Channel numbers: bit length of the step along the Morton curve, 3 + 1 + 3 + 3 attributes, active SH components, the components."""
PART = 1 << 16
"""At most this many Gaussians are coded together; the parts of a layer are alike in size and decode side by side."""
_PART = struct.Struct("<HII")


@dataclass(frozen=True, eq=False)
class Columns:
    """A cloud in file order as the coder sees it.

    Attributes:
        values: [channels, N].
        codes: [N] Morton codes.
        offsets: [N, 3] places within the cells.
        cuts: [N] bits an axis of the offsets.
    """

    values: I32
    codes: NDArray[np.uint64]
    offsets: I32
    cuts: NDArray[np.int8]


def parts_of(layers: Sequence[int]) -> list[list[slice]]:
    """Of every layer, its runs of Gaussians: ceil(size / PART) of them, run i beginning at i * size / number, rounded down."""
    result, start = [], 0
    for size in layers:
        number = -(-size // PART)
        bounds = [start + i * size // max(number, 1) for i in range(number + 1)]
        result.append([slice(a, b) for a, b in pairwise(bounds)])
        start += size
    return result


def columns_of(quantised: Quantised) -> Columns:
    """All channels of a cloud."""
    q = quantised
    codes = codes_from_cells(q.cells)
    lengths = [_bit_lengths(_steps(codes[part])) for layer in parts_of(q.layers) for part in layer]
    length = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
    rows = [length, *q.scales.T, q.opacities, *q.rotations.T, *q.colours.T]
    if q.sh.shape[1]:
        rows += [_active(q.sh), *q.sh.T]
    return Columns(np.array(rows, np.int32), codes, q.offsets, q.grid.cuts(q.scales))


def symbols_of(columns: Columns) -> tuple[dict[int, U16], list[Model]]:
    """[N] symbols of every channel, and models without contexts."""
    pairs = [split(values, channel >= ACTIVE) for channel, values in enumerate(columns.values)]
    return {channel: symbols for channel, (symbols, _) in enumerate(pairs)}, [model for _, model in pairs]


def coded_where(channel: int, active: NDArray[np.integer[Any]] | None) -> I64 | None:
    """Indices of the Gaussians that hold this channel; None for all. SH component m is there where more than m are active."""
    return None if channel < SH or active is None else np.flatnonzero(active > channel - SH)


def surroundings_of(
    symbols: dict[int, U16], models: Sequence[Model], codes: NDArray[np.uint64], run: slice, layer_start: int
) -> Surroundings:
    """Of a run of Gaussians in the layer that begins at ``layer_start``."""
    return Surroundings(symbols, [m.alphabet for m in models], run, Earlier.of(codes[:layer_start]).neighbours(codes[run]))


def encode_part(columns: Columns, models: Sequence[Model], around: Surroundings) -> bytes:
    """A run of Gaussians as bytes."""
    run = around.run
    active = columns.values[ACTIVE, run] if len(models) > ACTIVE else None
    places = pack_bits(_steps(columns.codes[run]), _below(columns.values[LENGTH, run]))
    late = []
    streams = []
    for channel, model in enumerate(models):
        where = coded_where(channel, active)
        symbols, values = around.symbols[channel][run], columns.values[channel, run]
        if where is not None:
            symbols, values = symbols[where], values[where]
        rows = around.rows(model, where)
        frequencies = model.frequencies()
        starts = np.cumsum(frequencies, axis=1) - frequencies
        cell = symbols.astype(np.int64) if rows is None else (rows >> SCALE_BITS) * model.alphabet + symbols
        streams.append((frequencies.ravel()[cell], starts.ravel()[cell]))
        if model.plain_bits:
            late.append(pack_bits(values.astype(np.int64) - model.low, np.full(len(values), model.plain_bits)))
    late.append(pack_bits(_joined(columns.offsets[run], columns.cuts[run]), 3 * columns.cuts[run]))
    lanes, after = lanes_for(run.stop - run.start), b"".join(late)
    states, words = encode_stream(streams, lanes, after[: 2 * lanes].ljust(2 * lanes, b"\0"))
    plain = places + after[2 * lanes :]
    return _PART.pack(lanes, len(words), len(plain)) + states.astype("<u4").tobytes() + words.astype("<u2").tobytes() + plain


class LayerDecoder:
    """Decodes one layer after another into whole arrays."""

    def __init__(self, count: int, models: Sequence[Model], grid: Grid) -> None:
        self._models, self._grid = models, grid
        contexts = {source.channel for model in models for source in (model.first, model.second) if source.kind}
        self._symbols = {channel: np.zeros(count, np.uint16) for channel in contexts}
        self._kernels = kernels_for(count)
        frequencies = [model.frequencies() for model in models]
        self._decoders = [Decoder.of(f) for f in frequencies] if self._kernels is None else []
        self._searches = [Search.of(f) for f in frequencies] if self._kernels is not None else []
        self.columns = Columns(
            np.zeros((len(models), count), np.int32), np.zeros(count, np.uint64), np.zeros((count, 3), np.int32), np.zeros(count, np.int8)
        )

    def decode(self, data: bytes, parts: Sequence[slice]) -> None:
        """Decode a layer; its parts side by side in threads (numpy works outside the interpreter's lock).

        Raises:
            ExgsError: the layer is not self-consistent (its checksum was right, so its writer is at fault).
        """
        pieces, at = [], 0
        for _ in parts:
            if at + _PART.size > len(data):
                raise ExgsError("ends within a part's head")
            lanes, words, plain = _PART.unpack_from(data, at)
            size = _PART.size + 4 * lanes + 2 * words + plain
            if not 1 <= lanes <= MAX_LANES or at + size > len(data):
                raise ExgsError("a part's head does not fit its length")
            pieces.append(data[at : at + size])
            at += size
        if at != len(data):
            raise ExgsError(f"{len(data) - at} bytes follow its parts")
        if not parts:
            return
        before = Earlier.of(self.columns.codes[: parts[0].start])
        with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1)) as pool:
            list(pool.map(lambda job: self._part(job[0], job[1], before), zip(pieces, parts, strict=True)))

    def _part(self, data: bytes, run: slice, before: Earlier) -> None:
        lanes, word_count, _ = _PART.unpack_from(data)
        stream = StreamDecoder(
            np.frombuffer(data, "<u4", lanes, _PART.size), np.frombuffer(data, "<u2", word_count, _PART.size + 4 * lanes)
        )
        bits = _PlainBits(data[_PART.size + 4 * lanes + 2 * word_count :], self._kernels)
        columns, values = self.columns, self.columns.values[:, run]
        around = Surroundings(self._symbols, [model.alphabet for model in self._models], run, None)
        read = self._read if self._kernels is None else partial(self._read_compiled, self._kernels)
        read(stream, LENGTH, around)
        columns.codes[run] = self._positions(values[LENGTH], bits)
        around = replace(around, near=before.neighbours(columns.codes[run]))
        for channel in range(1, len(self._models)):
            read(stream, channel, around)
        bits.insert(stream.finish())
        for channel in range(1, len(self._models)):
            if self._models[channel].plain_bits:
                where = coded_where(channel, values[ACTIVE] if channel >= SH else None)
                number = len(values[0]) if where is None else len(where)
                raw = bits.take(np.full(number, self._models[channel].plain_bits)).astype(np.int32)
                values[channel, slice(None) if where is None else where] += raw
        cuts = columns.cuts[run] = self._grid.cuts(values[SCALE : SCALE + 3].T)
        columns.offsets[run] = _parted(bits.take(3 * cuts), cuts)
        bits.finish()

    def _read(self, stream: StreamDecoder, channel: int, around: Surroundings) -> None:
        """One channel of a run: its symbols where they are contexts, and its values but for the plain bits."""
        model, run, values = self._models[channel], around.run, self.columns.values[:, around.run]
        where = coded_where(channel, values[ACTIVE] if channel >= SH else None)
        number = len(values[0]) if where is None else len(where)
        symbols = stream.read(self._decoders[channel], around.rows(model, where), number)
        if channel in self._symbols:
            kept = self._symbols[channel][run]
            kept[:] = _symbol_of_nothing(model)
            kept[slice(None) if where is None else where] = symbols
        table = (np.arange(model.alphabet, dtype=np.int64) << model.plain_bits) + model.low
        values[channel, slice(None) if where is None else where] = table.astype(np.int32).take(symbols)

    def _read_compiled(self, kernels: Any, stream: StreamDecoder, channel: int, around: Surroundings) -> None:
        """The twin of :meth:`_read`."""
        model, search, values = self._models[channel], self._searches[channel], self.columns.values[:, around.run]
        nothing, nowhere = np.zeros(0, np.uint16), np.zeros(0, np.int64)
        symbols = self._symbols.get(channel, nothing)
        if len(symbols):
            symbols[around.run] = _symbol_of_nothing(model)
        sources: list[Any] = []
        for source, factor in ((model.first, model.second.classes), (model.second, 1)):
            if source.classes == 1:
                sources += [0, nowhere, nothing]
                continue
            table = np.append(source.of(around.alphabets[source.channel]), source.classes - 1) * factor
            sources += [kernels.NEAR_KIND if source.kind >= NEIGHBOURS else kernels.OWN_KIND, table, self._symbols[source.channel]]
        before, after = around.near or (nowhere, nowhere)
        active = values[ACTIVE] if channel >= SH else np.zeros(0, np.int32)
        stream.read_compiled(
            kernels.read_channel,
            *(search.first, search.ends, model.alphabet, model.low, model.plain_bits, *sources),
            *(before, after, active, channel - SH, around.run.start, values[channel], symbols),
        )

    def _positions(self, lengths: I32, bits: _PlainBits) -> NDArray[np.uint64]:
        if len(lengths) and (lengths.min() < 0 or lengths.max() > 3 * self._grid.bits):
            raise ExgsError("a position lies outside the grid")
        below = _below(lengths)
        leading = np.where(lengths > 0, np.int64(1) << below.astype(np.int64), 0)
        codes = np.cumsum(bits.take(below) + leading)
        if len(codes) and (codes.min() < 0 or int(codes.max()) >> (3 * self._grid.bits)):
            raise ExgsError("a position lies outside the grid")
        return codes.astype(np.uint64)


class _PlainBits:
    """Reads fields of plain bits, each padded to whole bytes, one after another."""

    def __init__(self, data: bytes, kernels: Any) -> None:
        self._data, self._at, self._spare, self._kernels = data, 0, 0, kernels

    def take(self, lengths: NDArray[np.integer[Any]]) -> I64:
        size = (int(lengths.sum(dtype=np.int64)) + 7) // 8
        if self._at + size > len(self._data):
            raise ExgsError("ends within its plain bits")
        field = self._data[self._at : self._at + size]
        self._at += size
        if self._kernels is None:
            return unpack_bits(field, lengths)
        values = np.empty(len(lengths), np.int64)
        self._kernels.unpack(np.frombuffer(field + bytes(8), np.uint8), lengths, values)
        return values

    def insert(self, luggage: bytes) -> None:
        """What comes next, before the rest."""
        self._data, self._at, self._spare = luggage + self._data[self._at :], 0, len(luggage)

    def finish(self) -> None:
        """All is read, but for zeros in luggage that was not needed."""
        left = self._data[self._at :]
        if len(left) > self._spare or any(left):
            raise ExgsError(f"{len(left)} bytes follow its plain bits")


def _symbol_of_nothing(model: Model) -> int:
    """The symbol of 0, which a component that is not there counts as."""
    return int(np.clip(-model.low >> model.plain_bits, 0, model.alphabet - 1))


def _joined(offsets: I32, cuts: NDArray[np.int8]) -> I64:
    """[n, 3] of [n] bits an axis -> [n], x in the high bits."""
    x, y, z = offsets.T.astype(np.int64)
    return (x << 2 * cuts.astype(np.int64)) | (y << cuts) | z


def _parted(joined: I64, cuts: NDArray[np.int8]) -> I64:
    """Inverse of :func:`_joined`."""
    shift, mask = cuts.astype(np.int64), (1 << cuts.astype(np.int64)) - 1
    return np.stack([joined >> 2 * shift, (joined >> shift) & mask, joined & mask], axis=1)


def _steps(codes: NDArray[np.uint64]) -> I64:
    """From each Morton code to the next, the first from 0."""
    return np.diff(codes.astype(np.int64), prepend=0)


def _below(lengths: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Bits below the leading one."""
    return np.maximum(lengths - 1, 0)


def _active(sh: I32) -> I64:
    """[N] 1 + the number of the last component that is not 0; 0 where all are."""
    held = sh != 0
    return np.where(held.any(axis=1), sh.shape[1] - np.argmax(held[:, ::-1], axis=1), 0)


def _bit_lengths(values: I64) -> I64:
    """Bits needed for each value >= 0; 0 for 0."""
    lengths = np.zeros(len(values), np.int64)
    rest = values.copy()
    for shift in (32, 16, 8, 4, 2, 1):
        above = rest >> shift > 0
        lengths[above] += shift
        rest[above] >>= shift
    return lengths + (rest > 0)
