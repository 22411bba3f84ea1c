# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes -> layers of a rounded cloud, the inverse of ``layer_coding``. See docs/exgs-format.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError
from .bits import unpack_bits
from .compiled import kernels_for
from .contexts import I64, NEIGHBOURS, U16, Earlier, Model, Source, Surroundings
from .grid import Grid, cells_from_codes
from .layer_coding import ACTIVE, LENGTH, PART_HEAD, SCALE, SH, bits_below, coded_where
from .quantise import I32
from .rans import MAX_LANES, Decoder, Search, StreamDecoder

U32 = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Part:
    """A run of Gaussians, decoded: ``values`` [channels, n], ``cells`` and ``offsets`` [n, 3]."""

    values: I32
    cells: I32
    offsets: I32


class LayerDecoder:
    """Decodes one layer after another, part by part, so that not all integers are there at once.

    Args:
        layers: Gaussians in each. What later layers ask for is kept, so nothing of the last one, which is the largest.
        done: takes each part, in any order and from several threads.
    """

    def __init__(self, layers: Sequence[int], models: Sequence[Model], grid: Grid, done: Callable[[slice, Part], None]) -> None:
        self._models, self._grid, self._done = models, grid, done
        self._alphabets = [model.alphabet for model in models]
        sources = [source for model in models for source in (model.first, model.second) if source.kind]
        self._contexts = {source.channel for source in sources}
        near = {source.channel for source in sources if source.kind >= NEIGHBOURS}
        self._kept = sum(layers[:-1])
        self._symbols = {channel: np.zeros(self._kept, np.uint16) for channel in near}
        self._kernels = kernels_for(sum(layers))
        frequencies = [model.frequencies() for model in models]
        self._decoders = [Decoder.of(f) for f in frequencies] if self._kernels is None else []
        self._searches = [Search.of(f, self._kernels.search_tables) for f in frequencies] if self._kernels is not None else []
        self._codes = np.zeros(self._kept, np.uint64)

    def decode(self, data: bytes | memoryview, parts: Sequence[slice]) -> None:
        """Decode a layer; its parts side by side in threads (numpy works outside the interpreter's lock).

        Raises:
            ExgsError: the layer is not self-consistent (its checksum was right, so its writer is at fault).
        """
        pieces, at, whole = [], 0, memoryview(data)
        for _ in parts:
            if at + PART_HEAD.size > len(data):
                raise ExgsError("ends within a part's head")
            lanes, words, plain = PART_HEAD.unpack_from(data, at)
            size = PART_HEAD.size + 4 * lanes + 2 * words + plain
            if not 1 <= lanes <= MAX_LANES or at + size > len(data):
                raise ExgsError("a part's head does not fit its length")
            pieces.append(whole[at : at + size])
            at += size
        if at != len(data):
            raise ExgsError(f"{len(data) - at} bytes follow its parts")
        if not parts:
            return
        before = Earlier.of(self._codes[: parts[0].start])
        with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1)) as pool:
            list(pool.map(lambda job: self._part(job[0], job[1], before), zip(pieces, parts, strict=True)))

    def _part(self, data: memoryview, run: slice, before: Earlier) -> None:
        lanes, word_count, _ = PART_HEAD.unpack_from(data)
        stream = StreamDecoder(
            np.frombuffer(data, "<u4", lanes, PART_HEAD.size), np.frombuffer(data, "<u2", word_count, PART_HEAD.size + 4 * lanes)
        )
        bits = _PlainBits(data[PART_HEAD.size + 4 * lanes + 2 * word_count :], self._kernels)
        everywhere = np.arange(run.stop - run.start, dtype=np.uint32)
        values = np.zeros((len(self._models), len(everywhere)), np.int32)
        own = {channel: np.empty(len(everywhere), np.uint16) for channel in self._contexts}
        around = Surroundings(self._symbols, own, self._alphabets, run, None)
        self._read(stream, LENGTH, around, everywhere, values[LENGTH])
        codes = self._positions(values[LENGTH], bits)
        if run.stop <= self._kept:
            self._codes[run] = codes
        around = replace(around, near=self._near(before, codes))
        where = everywhere
        for channel in range(1, len(self._models)):
            if channel >= SH:
                where = self._narrowed(where, values[ACTIVE], channel - SH)
            self._read(stream, channel, around, where, values[channel])
        bits.insert(stream.finish())
        for channel in range(1, len(self._models)):
            if self._models[channel].plain_bits:
                coded = coded_where(channel, values[ACTIVE] if channel >= SH else None)
                number = len(values[0]) if coded is None else len(coded)
                raw = bits.take(np.full(number, self._models[channel].plain_bits)).astype(np.int32)
                values[channel, slice(None) if coded is None else coded] += raw
        cells, offsets = self._places(codes, values[SCALE : SCALE + 3], bits)
        bits.finish()
        self._done(run, Part(values, cells, offsets))

    def _narrowed(self, where: U32, active: I32, above: int) -> U32:
        """Those of ``where`` with more than ``above`` active components; they are ever fewer."""
        if self._kernels is None:
            return where[active[where] > above]
        kept = where.copy() if above == 0 else where  # in place, but never where everything is listed
        return kept[: self._kernels.narrow(active, above, kept)]

    def _read(self, stream: StreamDecoder, channel: int, around: Surroundings, where: U32, values: I32) -> None:
        """One channel of the Gaussians at ``where`` in a run: symbols where they are contexts, values but for the plain bits."""
        model = self._models[channel]
        symbols = around.own[channel] if channel in around.own else np.empty(len(values), np.uint16)
        if len(where) < len(values):
            symbols[:] = _symbol_of_nothing(model)
        if self._kernels is not None:
            sources = (*self._classes(model.first, model.second.classes, around), *self._classes(model.second, 1, around))
            search = self._searches[channel]
            tables = (search.first, search.ends, model.alphabet, *sources)
            stream.read_compiled(self._kernels.read_channel, *tables, where, model.low, model.plain_bits, values, symbols)
        else:
            whole = len(where) == len(values)
            read = stream.read(self._decoders[channel], around.rows(model, None if whole else where.astype(np.int64)), len(where))
            here = slice(None) if whole else where
            symbols[here] = read
            values[here] = (read.astype(np.int32) << model.plain_bits) + model.low
        if channel in self._symbols and around.run.stop <= self._kept:
            self._symbols[channel][around.run] = symbols

    def _classes(self, source: Source, factor: int, around: Surroundings) -> tuple[U32, U16]:
        """What ``read_channel`` looks up a part of its rows in: class * factor of each symbol, and the symbols [n] of a run."""
        everywhere = np.zeros(around.run.stop - around.run.start, np.uint16)
        if source.classes == 1:
            return np.zeros(1, np.uint32), everywhere
        if source.kind >= NEIGHBOURS and around.near is None:
            return np.full(1, (source.classes - 1) * factor, np.uint32), everywhere
        table = (source.of(self._alphabets[source.channel]) * factor).astype(np.uint32)
        if source.kind < NEIGHBOURS:
            return table, around.own[source.channel]
        assert around.near is not None
        self._kernels.mean_symbols(self._symbols[source.channel], *around.near, everywhere)
        return table, everywhere

    def _near(self, before: Earlier, codes: NDArray[np.uint64]) -> tuple[I64, I64] | None:
        """:meth:`Earlier.neighbours`, compiled where it can be."""
        if self._kernels is None or not len(before.codes) or not len(codes):
            return before.neighbours(codes)
        near = np.empty(len(codes), np.int64), np.empty(len(codes), np.int64)
        self._kernels.neighbours(before.codes, before.order, np.searchsorted(before.codes, codes[0], side="right"), codes, *near)
        return near

    def _places(self, codes: NDArray[np.uint64], scales: I32, bits: _PlainBits) -> tuple[I32, I32]:
        """[n, 3] each: cells, and the places within them, of a run whose codes and scales [3, n] are known."""
        offsets = np.empty((len(codes), 3), np.int32)
        if self._kernels is None:
            cuts = self._grid.cuts(scales.T)
            _part_axes(bits.take(3 * cuts), cuts, offsets)
            return cells_from_codes(codes), offsets
        cells, cuts = np.empty((len(codes), 3), np.int32), np.empty(len(codes), np.int8)
        self._kernels.cells_from_codes(codes, cells)
        self._kernels.count_cuts(scales, np.array(self._grid.refinement, np.int64), cuts)
        self._kernels.part_axes(bits.take(3 * cuts), cuts, offsets)
        return cells, offsets

    def _positions(self, lengths: I32, bits: _PlainBits) -> NDArray[np.uint64]:
        if len(lengths) and (lengths.min() < 0 or lengths.max() > 3 * self._grid.bits):
            raise ExgsError("a position lies outside the grid")
        below = bits_below(lengths)
        leading = np.where(lengths > 0, np.int64(1) << below.astype(np.int64), 0)
        codes = np.cumsum(bits.take(below) + leading)
        if len(codes) and (codes.min() < 0 or int(codes.max()) >> (3 * self._grid.bits)):
            raise ExgsError("a position lies outside the grid")
        return codes.astype(np.uint64)


class _PlainBits:
    """Reads fields of plain bits, each padded to whole bytes, one after another."""

    def __init__(self, data: bytes | memoryview, kernels: Any) -> None:
        self._data, self._at, self._spare, self._kernels = data, 0, 0, kernels

    def take(self, lengths: NDArray[np.integer[Any]]) -> I64:
        size = (int(lengths.sum(dtype=np.int64)) + 7) // 8
        if self._at + size > len(self._data):
            raise ExgsError("ends within its plain bits")
        field = bytes(self._data[self._at : self._at + size])
        self._at += size
        if self._kernels is None:
            return unpack_bits(field, lengths)
        values = np.empty(len(lengths), np.int64)
        words = np.frombuffer(field + bytes(8 + -size % 4), ">u4").astype(np.uint32)
        self._kernels.unpack(words, lengths, values)
        return values

    def insert(self, luggage: bytes) -> None:
        """What comes next, before the rest."""
        self._data, self._at, self._spare = luggage + bytes(self._data[self._at :]), 0, len(luggage)

    def finish(self) -> None:
        """All is read, but for zeros in luggage that was not needed."""
        left = self._data[self._at :]
        if len(left) > self._spare or any(left):
            raise ExgsError(f"{len(left)} bytes follow its plain bits")


def _symbol_of_nothing(model: Model) -> int:
    """The symbol of 0, which a component that is not there counts as."""
    return int(np.clip(-model.low >> model.plain_bits, 0, model.alphabet - 1))


def _part_axes(joined: I64, cuts: NDArray[np.int8], offsets: I32) -> None:
    """[n] -> ``offsets`` [n, 3] of [n] bits an axis; the inverse of ``layer_coding``'s joining."""
    shift, mask = cuts.astype(np.int64), (1 << cuts.astype(np.int64)) - 1
    offsets[:, 0] = joined >> 2 * shift
    offsets[:, 1] = (joined >> shift) & mask
    offsets[:, 2] = joined & mask
