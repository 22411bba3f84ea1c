# SPDX-License-Identifier: GPL-3.0-or-later
"""Which table codes a symbol: the choice of contexts, made once for a cloud and stored beside the tables.

Attributes of splats are noise with skewed histograms: what helps is the own Gaussian's other attributes and the neighbours
along the Morton curve in the layers before. Larger models (linear predictions of mean and spread from everything known)
were measured to gain less than 1 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError
from .rans import SCALE_BITS, Decoder, codes_from_counts, frequencies_from_codes
from .smoothing import smoothed

I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
Indices = NDArray[np.signedinteger[Any]]

BLOCK = 1 << 16
MAX_ALPHABET_BITS = 9
NONE, OWN, NEIGHBOURS = 0, 1, 128
"""Kinds of a source: nothing; OWN + j: the Gaussian's own channel j; NEIGHBOURS + j: mean of the two neighbours' channel j."""
MAX_CHANNELS = 127
CLASS_COUNTS = (3, 6, 12)
MAX_CLASSES, MAX_ROWS = 32, 4096
"""Of a source; of all channels together (a row takes 24 KiB to decode with)."""
TABLE_ENTRY_BITS = 4.5
"""What a table entry costs about; keeps the choice of contexts honest for small clouds."""


@dataclass(frozen=True)
class Source:
    """A context: ``kind`` as above; a symbol's class is how many ``limits`` it reaches. One class more where neighbours are missing."""

    kind: int = NONE
    limits: tuple[int, ...] = ()

    @property
    def channel(self) -> int:
        return self.kind - NEIGHBOURS if self.kind >= NEIGHBOURS else self.kind - OWN

    @property
    def classes(self) -> int:
        return len(self.limits) + 1 + (self.kind >= NEIGHBOURS)

    def of(self, alphabet: int) -> I64:
        """[alphabet] class of each symbol, to be taken by the symbols."""
        return np.searchsorted(np.asarray(self.limits, np.int64), np.arange(alphabet), side="right").astype(np.int64)


@dataclass(frozen=True, eq=False)
class Model:
    """How a channel is coded: value = low + (symbol << plain_bits) + plain bits; tables by the classes of two sources.

    Attributes:
        codes: [first.classes * second.classes, alphabet] table codes, see ``rans``.
    """

    low: int
    plain_bits: int
    alphabet: int
    first: Source = Source()
    second: Source = Source()
    codes: NDArray[np.uint8] = field(default_factory=lambda: np.ones((1, 1), np.uint8))

    @property
    def rows(self) -> int:
        return self.first.classes * self.second.classes

    def frequencies(self) -> I64:
        return frequencies_from_codes(self.codes)

    def decoder(self) -> Decoder:
        return Decoder.of(self.frequencies())


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Where a run of Gaussians stands: what its contexts are taken from.

    Attributes:
        symbols: by channel, [all Gaussians of the file], as far as they are known; of the channels that neighbours are asked for.
        own: by channel, [n] of the Gaussians that are coded, as far as they are known.
        alphabets: by channel.
        run: the Gaussians that are coded.
        near: [n] each, the two neighbours of each along the Morton curve in the layers before; None in the first layer.
    """

    symbols: Mapping[int, U16]
    own: Mapping[int, U16]
    alphabets: Sequence[int]
    run: slice
    near: tuple[Indices, Indices] | None

    def part(self, run: slice) -> Surroundings:
        """Of Gaussians within this run."""
        first, last = run.start - self.run.start, run.stop - self.run.start
        near = None if self.near is None else (self.near[0][first:last], self.near[1][first:last])
        return replace(self, own={channel: symbols[first:last] for channel, symbols in self.own.items()}, run=run, near=near)

    def rows(self, model: Model, where: I64 | None = None) -> I64 | None:
        """[n] (or of those at ``where`` in the run) row << 12 for ``StreamDecoder``; None where there is only one row."""
        total: I64 | None = None
        for source, factor in ((model.first, model.second.classes), (model.second, 1)):
            if source.classes > 1:
                part = self.classes(source, factor << SCALE_BITS, where)
                total = part if total is None else total + part
        return total

    def classes(self, source: Source, step: int = 1, where: I64 | None = None) -> I64:
        """[n] class * step."""
        table = source.of(self.alphabets[source.channel]) * step
        if source.kind < NEIGHBOURS:
            own = self.own[source.channel]
            return table.take(own if where is None else own[where])
        if self.near is None:
            return np.full(self.run.stop - self.run.start if where is None else len(where), (source.classes - 1) * step, np.int64)
        symbols = self.symbols[source.channel]
        before, after = self.near if where is None else (self.near[0][where], self.near[1][where])
        return table.take((symbols.take(before).astype(np.int32) + symbols.take(after)) >> 1)


@dataclass(frozen=True, eq=False)
class Earlier:
    """The layers before: their Morton codes in ascending order, and which Gaussian of the file each is."""

    codes: NDArray[np.uint64]
    order: I64

    @staticmethod
    def of(codes: NDArray[np.uint64]) -> Earlier:
        """From codes in file order."""
        order = np.argsort(codes, kind="stable")
        return Earlier(codes[order], order)

    def neighbours(self, codes: NDArray[np.uint64], kind: type[np.signedinteger[Any]] = np.int64) -> tuple[Indices, Indices] | None:
        """For ascending codes [n]: of the last Gaussian not above each, and of the next; the nearest end where there is none."""
        if not len(self.codes):
            return None
        place = np.searchsorted(self.codes, codes, side="right")
        ends = np.maximum(place - 1, 0), np.minimum(place, len(self.codes) - 1)
        return self.order[ends[0]].astype(kind, copy=False), self.order[ends[1]].astype(kind, copy=False)


def split(values: NDArray[np.integer[Any]], with_zero: bool) -> tuple[U16, Model]:
    """Symbols [n] of a channel (uint8 where they fit), and its model without contexts.

    ``with_zero``: 0 has a symbol whether it occurs or not.
    """
    ends = (0, 0) if with_zero or not len(values) else (int(values[0]), int(values[0]))
    low = int(values.min(initial=ends[0]))
    high = int(values.max(initial=ends[1])) - low
    plain = max(high.bit_length() - MAX_ALPHABET_BITS, 0)
    alphabet = (high >> plain) + 1
    symbols: NDArray[Any] = np.empty(len(values), np.uint8 if alphabet <= 256 else np.uint16)
    for block in blocks_of(len(values)):
        symbols[block] = (values[block].astype(np.int64) - low) >> plain
    return symbols, Model(low, plain, alphabet)


def below_symbols(values: NDArray[np.integer[Any]], model: Model) -> NDArray[np.unsignedinteger[Any]]:
    """[n] the plain bits of a channel's values, in the smallest kind of integer."""
    rest: NDArray[Any] = np.empty(len(values), np.uint16 if model.plain_bits <= 16 else np.uint32)
    for block in blocks_of(len(values)):
        rest[block] = (values[block].astype(np.int64) - model.low) & ((1 << model.plain_bits) - 1)
    return rest


def blocks_of(count: int) -> list[slice]:
    """Runs in which the steps between take little memory."""
    return [slice(start, start + BLOCK) for start in range(0, count, BLOCK)]


def with_tables(model: Model, counts: I64) -> Model:
    """The model with tables for these counts [rows, alphabet]."""
    return Model(model.low, model.plain_bits, model.alphabet, model.first, model.second, codes_from_counts(smoothed(counts)))


def quantile_limits(counts: I64, classes: int) -> tuple[int, ...]:
    """Limits that part symbols that occur this often [alphabet] into about equally many."""
    ends = np.cumsum(counts)
    limits = np.searchsorted(ends, ends[-1] * np.arange(1, classes) / classes, side="right")
    return tuple(int(v) for v in np.unique(limits) if 0 < v < len(counts))


def cost_of(counts: I64, stride: int) -> float:
    """Bits of symbols of which every ``stride``-th has these counts [rows, alphabet], tables included."""
    rows = counts.sum(axis=1)
    rows, used = rows[rows > 0], counts[counts > 0]
    return stride * float(rows @ np.log2(rows) - used @ np.log2(used)) + TABLE_ENTRY_BITS * len(used)


def pack_models(models: Sequence[Model]) -> bytes:
    """Heads, limits and table codes; see docs/exgs-format.md."""
    parts = [np.array([m.low for m in models], "<i4").tobytes()]
    parts += [np.array([m.alphabet for m in models], "<u2").tobytes()]
    for name in ("plain_bits", "first", "second"):
        values = [getattr(m, name) for m in models]
        if name == "plain_bits":
            parts.append(bytes(values))
        else:
            parts += [bytes(s.kind for s in values), bytes(len(s.limits) for s in values)]
    parts += [np.array([*m.first.limits, *m.second.limits], "<u2").tobytes() for m in models]
    parts += [m.codes.tobytes() for m in models]
    return b"".join(parts)


def unpack_models(data: bytes, number: int) -> list[Model]:
    """Inverse of :func:`pack_models`.

    Raises:
        ExgsError: a value is out of its range, or the length does not fit.
    """
    head = 11 * number
    if len(data) < head:
        raise ExgsError("the heads of the channels are incomplete")
    lows = np.frombuffer(data, "<i4", number)
    alphabets = np.frombuffer(data, "<u2", number, 4 * number)
    plain, kind1, number1, kind2, number2 = np.frombuffer(data, np.uint8, 5 * number, 6 * number).reshape(5, number)
    at, sources = head, []
    for i in range(number):
        pair = []
        for kind, count in ((int(kind1[i]), int(number1[i])), (int(kind2[i]), int(number2[i]))):
            limits = tuple(np.frombuffer(data, "<u2", count, at).tolist()) if at + 2 * count <= len(data) else None
            at += 2 * count
            pair.append(_checked_source(i, kind, limits, number))
        sources.append(pair)
    if sum(first.classes * second.classes for first, second in sources) > MAX_ROWS:
        raise ExgsError(f"the tables have more than {MAX_ROWS} rows")
    models = []
    for i, (first, second) in enumerate(sources):
        alphabet, rows = int(alphabets[i]), first.classes * second.classes
        if not 1 <= alphabet <= 1 << MAX_ALPHABET_BITS or plain[i] > 32 or at + rows * alphabet > len(data):
            raise ExgsError(f"channel {i} has an impossible head")
        codes = np.frombuffer(data, np.uint8, rows * alphabet, at).reshape(rows, alphabet)
        at += rows * alphabet
        models.append(Model(int(lows[i]), int(plain[i]), alphabet, first, second, codes))
    if at != len(data):
        raise ExgsError(f"{len(data) - at} bytes follow the tables")
    return models


def tables_bytes_limit(number: int) -> int:
    """The most that :func:`pack_models` makes of ``number`` channels."""
    return number * (11 + 4 * MAX_CLASSES) + (MAX_ROWS << MAX_ALPHABET_BITS)


def _checked_source(index: int, kind: int, limits: tuple[int, ...] | None, number: int) -> Source:
    channel = kind - NEIGHBOURS if kind >= NEIGHBOURS else kind - OWN
    fits = channel < number if kind >= NEIGHBOURS else channel < index
    if limits is None or not fits or len(limits) >= MAX_CLASSES or (kind == NONE and limits):
        raise ExgsError(f"channel {index} has an impossible context")
    if any(a >= b for a, b in pairwise(limits)):
        raise ExgsError(f"channel {index} has limits that do not ascend")
    return Source(kind, limits)
