# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers of a rounded cloud <-> bytes: the order of channels, their symbols and plain bits. See docs/exgs-format.md."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import pack_bits
from .contexts import I64, U16, Earlier, Model, Surroundings, below_symbols, blocks_of, split
from .grid import codes_from_cells
from .quantise import I32, Quantised
from .rans import SCALE_BITS, encode_stream, lanes_for

LENGTH, SCALE, OPACITY, ROTATION, COLOUR, ACTIVE, SH = 0, 1, 4, 5, 8, 11, 12
"""Channel numbers: bit length of the step along the Morton curve, 3 + 1 + 3 + 3 attributes, active SH components, the components."""
PART = 1 << 16
"""At most this many Gaussians are coded together; the parts of a layer are alike in size and decode side by side."""
PART_HEAD = struct.Struct("<HII")


@dataclass(frozen=True, eq=False)
class Columns:
    """A cloud in file order as the coder sees it.

    Attributes:
        symbols: [N] of each channel, the smallest kind of integer.
        rest: [N] the plain bits below the symbols, of the channels that have some.
        lengths: [N] bits of the step along the Morton curve, channel LENGTH.
        active: [N] channel ACTIVE; None without SH.
        codes: [N] Morton codes.
        offsets: [N, 3] places within the cells.
        cuts: [N] bits an axis of the offsets.
    """

    symbols: Mapping[int, U16]
    rest: Mapping[int, NDArray[np.integer[Any]]]
    lengths: I32
    active: I32 | None
    codes: NDArray[np.uint64]
    offsets: NDArray[np.int8]
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


def columns_of(quantised: Quantised) -> tuple[Columns, list[Model]]:
    """All channels of a cloud, and models without contexts. But for the offsets, nothing of the cloud is held."""
    q = quantised
    codes = codes_from_cells(q.cells)
    parts = [_bit_lengths(_steps(codes[part])) for layer in parts_of(q.layers) for part in layer]
    lengths = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    active = _active(q.sh) if q.sh.shape[1] else None
    symbols: dict[int, U16] = {}
    rest: dict[int, NDArray[np.integer[Any]]] = {}
    models: list[Model] = []
    for values in (lengths, *q.scales.T, q.opacities, *q.rotations.T, *q.colours.T, *(() if active is None else (active, *q.sh.T))):
        channel = len(models)
        symbols[channel], model = split(values, channel >= ACTIVE)
        models.append(model)
        if model.plain_bits:
            rest[channel] = below_symbols(values, model)
    cuts = np.empty(len(codes), np.int8)
    for block in blocks_of(len(codes)):
        cuts[block] = q.grid.cuts(q.scales[block])
    return Columns(symbols, rest, lengths, active, codes, q.offsets.astype(np.int8), cuts), models


def coded_where(channel: int, active: NDArray[np.integer[Any]] | None) -> I64 | None:
    """Indices of the Gaussians that hold this channel; None for all. SH component m is there where more than m are active."""
    return None if channel < SH or active is None else np.flatnonzero(active > channel - SH)


def surroundings_of(columns: Columns, models: Sequence[Model], run: slice, layer_start: int) -> Surroundings:
    """Of a run of Gaussians in the layer that begins at ``layer_start``."""
    near = Earlier.of(columns.codes[:layer_start]).neighbours(columns.codes[run], np.int32)
    own = {channel: symbols[run] for channel, symbols in columns.symbols.items()}
    return Surroundings(columns.symbols, own, [m.alphabet for m in models], run, near)


def encode_part(columns: Columns, models: Sequence[Model], around: Surroundings) -> bytes:
    """A run of Gaussians as bytes."""
    run = around.run
    active = None if columns.active is None else columns.active[run]
    places = pack_bits(_steps(columns.codes[run]), bits_below(columns.lengths[run]))
    late = []
    streams = []
    for channel, model in enumerate(models):
        where = coded_where(channel, active)
        symbols = around.own[channel]
        if where is not None:
            symbols = symbols[where]
        rows = around.rows(model, where)
        frequencies = model.frequencies()
        starts = np.cumsum(frequencies, axis=1) - frequencies
        cell = symbols.astype(np.int64) if rows is None else (rows >> SCALE_BITS) * model.alphabet + symbols
        streams.append((frequencies.astype(np.uint16).ravel()[cell], starts.astype(np.uint16).ravel()[cell]))
        if model.plain_bits:
            rest = columns.rest[channel][run]
            late.append(pack_bits(rest if where is None else rest[where], np.full(len(symbols), model.plain_bits)))
    late.append(pack_bits(_joined(columns.offsets[run], columns.cuts[run]), 3 * columns.cuts[run]))
    lanes, after = lanes_for(run.stop - run.start), b"".join(late)
    states, words = encode_stream(streams, lanes, after[: 2 * lanes].ljust(2 * lanes, b"\0"))
    plain = places + after[2 * lanes :]
    return PART_HEAD.pack(lanes, len(words), len(plain)) + states.astype("<u4").tobytes() + words.astype("<u2").tobytes() + plain


def _joined(offsets: NDArray[np.int8], cuts: NDArray[np.int8]) -> I64:
    """[n, 3] of [n] bits an axis -> [n], x in the high bits."""
    x, y, z = offsets.T.astype(np.int64)
    return (x << 2 * cuts.astype(np.int64)) | (y << cuts) | z


def _steps(codes: NDArray[np.uint64]) -> I64:
    """From each Morton code to the next, the first from 0."""
    return np.diff(codes.astype(np.int64), prepend=0)


def bits_below(lengths: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Bits below the leading one."""
    return np.maximum(lengths - 1, 0)


def _active(sh: I32) -> I32:
    """[N] 1 + the number of the last component that is not 0; 0 where all are."""
    active = np.zeros(len(sh), np.int32)
    for number, component in enumerate(sh.T, 1):
        active[component != 0] = number
    return active


def _bit_lengths(values: I64) -> I32:
    """Bits needed for each value >= 0; 0 for 0."""
    lengths = np.zeros(len(values), np.int32)
    rest = values.copy()
    for shift in (32, 16, 8, 4, 2, 1):
        above = rest >> shift > 0
        lengths[above] += shift
        rest[above] >>= shift
    return lengths + (rest > 0)
