# SPDX-License-Identifier: GPL-3.0-or-later
"""The encoder's choice of contexts: per channel the two sources that make it smallest, tables included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .contexts import CLASS_COUNTS, I64, NEIGHBOURS, OWN, Model, Source, Surroundings, cost_of, quantile_limits, with_tables
from .layer_coding import ACTIVE, COLOUR, LENGTH, OPACITY, ROTATION, SCALE, SH, Columns, coded_where
from .rans import SCALE_BITS

SAMPLES = 1 << 15
_NOTHING = np.ones(1, np.int64)
SECOND_FROM = 4
"""How many of the best first sources are tried as second ones."""


def fit_models(columns: Columns, plain: Sequence[Model], layers: Sequence[Surroundings]) -> tuple[list[Model], list[float]]:
    """The models with their contexts and tables, and the bits that each channel takes; ``layers``: the surroundings of whole layers."""
    histograms = [np.bincount(columns.symbols[c], minlength=m.alphabet) if layers else _NOTHING for c, m in enumerate(plain)]
    fitted = [_Channel(columns, channel, model, layers, histograms).fitted() for channel, model in enumerate(plain)]
    return [model for model, _ in fitted], [bits for _, bits in fitted]


class _Channel:
    """A channel's symbols, sampled for the search and whole for the tables."""

    def __init__(self, columns: Columns, channel: int, model: Model, layers: Sequence[Surroundings], histograms: list[I64]) -> None:
        self._channel, self._model, self._layers, self._histograms = channel, model, layers, histograms
        self._where = [coded_where(channel, None if columns.active is None else columns.active[layer.run]) for layer in layers]
        self._stride = max(1, sum(self._sizes()) // SAMPLES)
        self._whole = self._symbols(1)
        self._sample = self._symbols(self._stride)

    def fitted(self) -> tuple[Model, float]:
        model, total = self._model, len(self._whole)
        if total and model.alphabet > 1:
            model = self._with_sources(model)
        counts = self._counts(model, self._whole, 1)
        model = with_tables(model, counts)
        used = counts > 0
        tabled = float(counts[used] @ (SCALE_BITS - np.log2(model.frequencies()[used])))
        return model, tabled + total * model.plain_bits

    def _with_sources(self, model: Model) -> Model:
        fixed = self._fixed()
        model = replace(model, first=fixed)
        best = self._cost(model)
        ranked: list[tuple[float, Source]] = []
        for kind in self._kinds():
            for classes in CLASS_COUNTS:
                source = Source(kind, self._limits(kind, classes))
                if source.limits:
                    trial = replace(model, second=source) if fixed.kind else replace(model, first=source)
                    ranked.append((self._cost(trial), source))
        ranked.sort(key=lambda pair: pair[0])
        if not ranked or ranked[0][0] >= best:
            return model
        if fixed.kind:
            return replace(model, second=ranked[0][1])
        best, chosen = ranked[0]
        model = found = replace(model, first=chosen)
        others: dict[int, Source] = {}
        for _, source in ranked:
            if source.kind != chosen.kind:
                others.setdefault(source.kind, source)
        for kind in list(others)[:SECOND_FROM]:
            for classes in CLASS_COUNTS[:2]:
                trial = replace(model, second=Source(kind, self._limits(kind, classes)))
                cost = self._cost(trial)
                if cost < best:
                    best, found = cost, trial
        return found

    def _fixed(self) -> Source:
        """The last active SH component is never 0, so whether a component is the last is always its context."""
        last = self._channel - SH + 1
        if self._channel < SH or last == self._layers[0].alphabets[ACTIVE] - 1:
            return Source()
        return Source(OWN + ACTIVE, (last + 1,))

    def _kinds(self) -> list[int]:
        c = self._channel
        if c == LENGTH:
            return []
        own = range(c) if c <= ACTIVE else [OPACITY, COLOUR, ACTIVE, *([c - 1] if c > SH else [])]
        near = [c] if c < SH else [c, ACTIVE]
        if SCALE <= c < OPACITY or ROTATION <= c < COLOUR:
            near = [c]
        return [OWN + j for j in own] + [NEIGHBOURS + j for j in near]

    def _limits(self, kind: int, classes: int) -> tuple[int, ...]:
        return quantile_limits(self._histograms[kind - NEIGHBOURS if kind >= NEIGHBOURS else kind - OWN], classes)

    def _sizes(self) -> list[int]:
        return [
            layer.run.stop - layer.run.start if where is None else len(where)
            for layer, where in zip(self._layers, self._where, strict=True)
        ]

    def _symbols(self, stride: int) -> I64:
        parts = []
        for layer, where in zip(self._layers, self._where, strict=True):
            own = layer.own[self._channel]
            parts.append((own if where is None else own[where])[::stride])
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

    def _cost(self, model: Model) -> float:
        return cost_of(self._counts(model, self._sample, self._stride), self._stride)

    def _counts(self, model: Model, symbols: I64, stride: int) -> I64:
        cell = symbols
        for source, factor in ((model.first, model.second.classes), (model.second, 1)):
            if source.classes > 1:
                cell = cell + self._classes(source, stride) * (factor * model.alphabet)
        return np.bincount(cell, minlength=model.rows * model.alphabet).reshape(model.rows, model.alphabet)

    def _classes(self, source: Source, stride: int) -> I64:
        parts = []
        for layer, where in zip(self._layers, self._where, strict=True):
            if where is None:
                where = np.arange(layer.run.stop - layer.run.start)
            parts.append(layer.classes(source, 1, where[::stride]))
        return np.concatenate(parts)
