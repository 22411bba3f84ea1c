# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers of a rounded cloud <-> bytes: the order of channels, their symbols and plain bits. See docs/exgs-format.md."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import pack_bits
from .contexts import I64, U16, Earlier, Model, Surroundings, split
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
        values: [N] of each channel.
        codes: [N] Morton codes.
        offsets: [N, 3] places within the cells.
        cuts: [N] bits an axis of the offsets.
    """

    values: Sequence[I32]
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
    return Columns([np.ascontiguousarray(row, np.int32) for row in rows], codes, q.offsets, q.grid.cuts(q.scales))


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
    active = columns.values[ACTIVE][run] if len(models) > ACTIVE else None
    places = pack_bits(_steps(columns.codes[run]), bits_below(columns.values[LENGTH][run]))
    late = []
    streams = []
    for channel, model in enumerate(models):
        where = coded_where(channel, active)
        symbols, values = around.symbols[channel][run], columns.values[channel][run]
        if where is not None:
            symbols, values = symbols[where], values[where]
        rows = around.rows(model, where)
        frequencies = model.frequencies()
        starts = np.cumsum(frequencies, axis=1) - frequencies
        cell = symbols.astype(np.int64) if rows is None else (rows >> SCALE_BITS) * model.alphabet + symbols
        streams.append((frequencies.astype(np.uint16).ravel()[cell], starts.astype(np.uint16).ravel()[cell]))
        if model.plain_bits:
            late.append(pack_bits(values.astype(np.int64) - model.low, np.full(len(values), model.plain_bits)))
    late.append(pack_bits(_joined(columns.offsets[run], columns.cuts[run]), 3 * columns.cuts[run]))
    lanes, after = lanes_for(run.stop - run.start), b"".join(late)
    states, words = encode_stream(streams, lanes, after[: 2 * lanes].ljust(2 * lanes, b"\0"))
    plain = places + after[2 * lanes :]
    return PART_HEAD.pack(lanes, len(words), len(plain)) + states.astype("<u4").tobytes() + words.astype("<u2").tobytes() + plain


def _joined(offsets: I32, cuts: NDArray[np.int8]) -> I64:
    """[n, 3] of [n] bits an axis -> [n], x in the high bits."""
    x, y, z = offsets.T.astype(np.int64)
    return (x << 2 * cuts.astype(np.int64)) | (y << cuts) | z


def _steps(codes: NDArray[np.uint64]) -> I64:
    """From each Morton code to the next, the first from 0."""
    return np.diff(codes.astype(np.int64), prepend=0)


def bits_below(lengths: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
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
