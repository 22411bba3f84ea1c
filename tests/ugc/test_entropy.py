# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exgs_blender.errors import ExgsError
from exgs_blender.ugc.bits import MAX_LENGTH, pack_bits, unpack_bits
from exgs_blender.ugc.contexts import NEIGHBOURS, OWN, Earlier, Model, Source, pack_models, quantile_limits, unpack_models
from exgs_blender.ugc.rans import (
    MAX_CODE,
    SCALE_BITS,
    TOTAL,
    Decoder,
    StreamDecoder,
    codes_from_counts,
    encode_stream,
    frequencies_from_codes,
)
from exgs_blender.ugc.smoothing import smoothed

I64 = NDArray[np.int64]


def _coded(symbols: I64, rows: I64, luggage: bytes, lanes: int) -> tuple[Decoder, StreamDecoder, int]:
    counts = np.zeros((int(rows.max(initial=0)) + 1, int(symbols.max(initial=0)) + 1), np.int64)
    np.add.at(counts, (rows, symbols), 1)
    frequencies = frequencies_from_codes(codes_from_counts(counts))
    starts = np.cumsum(frequencies, axis=1) - frequencies
    states, words = encode_stream([(frequencies[rows, symbols], starts[rows, symbols])], lanes, luggage)
    return Decoder.of(frequencies), StreamDecoder(states, words), len(words)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 500), st.sampled_from([1, 4, 64, 4096]), st.integers(1, 300), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_symbols_and_luggage_come_back(count: int, lanes: int, alphabet: int, contexts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    symbols = np.minimum(rng.geometric(0.1, count) - 1, alphabet - 1).astype(np.int64)
    rows = rng.integers(0, contexts, count)
    luggage = rng.bytes(2 * lanes)
    decoder, stream, _ = _coded(symbols, rows, luggage, lanes)
    np.testing.assert_array_equal(stream.read(decoder, rows << SCALE_BITS, count), symbols)
    assert stream.finish() == luggage


def test_missing_and_left_over_words() -> None:
    rng = np.random.default_rng(1)
    symbols, rows = rng.integers(0, 200, 5000), np.zeros(5000, np.int64)
    decoder, stream, _ = _coded(symbols, rows, bytes(128), 64)
    with pytest.raises(ExgsError, match="ends early"):
        stream.read(decoder, None, 15_000)
    _, stream, _ = _coded(symbols, rows, bytes(128), 64)
    stream.read(decoder, None, 4000)
    with pytest.raises(ExgsError, match="where its coder began"):
        stream.finish()


def test_size_is_near_the_entropy() -> None:
    rng = np.random.default_rng(1)
    p = np.array([0.9, 0.05, 0.03, 0.015, 0.005])
    symbols = rng.choice(5, 100_000, p=p)
    _, _, words = _coded(symbols, np.zeros(len(symbols), np.int64), bytes(512), 256)
    entropy = -float(np.sum(p * np.log2(p))) * len(symbols) / 8
    assert 2 * words < 1.01 * entropy + 400


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 512), st.integers(0, 2**32 - 1))
def test_tables_are_whole(rows: int, alphabet: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.exponential(20, (rows, alphabet)) * rng.integers(0, 2, (rows, alphabet)))
    frequencies = frequencies_from_codes(codes_from_counts(counts))
    assert (frequencies.sum(axis=1) == TOTAL).all()
    assert (frequencies[counts > 0] > 0).all()
    assert (frequencies[(counts == 0) & (counts.sum(axis=1, keepdims=True) > 0)] == 0).all()


def test_smoothing_joins_noise_and_keeps_steps() -> None:
    rng = np.random.default_rng(7)
    step = np.repeat([400.0, 40.0], 10)
    for row in smoothed(rng.poisson(step, (20, 20))):
        assert len(np.unique(row[:10])) < 6
        assert row[:10].min() > 3 * row[10:].max()
        assert row.sum() == pytest.approx(step.sum(), rel=0.1)
    counts = np.array([[0, 0, 0, 9, 8, 0, 0], [0, 0, 0, 0, 0, 0, 0], [5000, 1, 5000, 0, 0, 0, 0]])
    rounded = smoothed(counts)
    np.testing.assert_allclose(rounded.sum(axis=1), counts.sum(axis=1))
    np.testing.assert_allclose(rounded[0, 3:5], 8.5)
    assert rounded[0, 0] == 0
    np.testing.assert_array_equal(rounded[2, :3], counts[2, :3])


def test_impossible_tables() -> None:
    with pytest.raises(ExgsError, match="empty"):
        frequencies_from_codes(np.zeros((1, 4), np.uint8))
    with pytest.raises(ExgsError, match="the code 255"):
        frequencies_from_codes(np.full((1, 4), 255, np.uint8))
    assert frequencies_from_codes(np.full((1, 2), MAX_CODE, np.uint8)).tolist() == [[2048, 2048]]


def test_models_come_back() -> None:
    rng = np.random.default_rng(2)
    second = Source(NEIGHBOURS + 1, (3, 9))
    models = [
        Model(-5, 0, 7, codes=rng.integers(1, 30, (1, 7)).astype(np.uint8)),
        Model(2**31 - 600, 3, 512, Source(OWN, (2,)), second, rng.integers(1, 30, (8, 512)).astype(np.uint8)),
    ]
    packed = pack_models(models)
    for before, after in zip(models, unpack_models(packed, 2), strict=True):
        assert (before.low, before.plain_bits, before.alphabet) == (after.low, after.plain_bits, after.alphabet)
        assert (before.first, before.second) == (after.first, after.second)
        np.testing.assert_array_equal(before.codes, after.codes)
    for damaged in (packed[:-1], packed + b"x", packed[:10], b""):
        with pytest.raises(ExgsError):
            unpack_models(damaged, 2)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_models_raise_only_exgs_errors(data: st.DataObject) -> None:
    packed = bytearray(
        pack_models([Model(0, 0, 4, codes=np.ones((1, 4), np.uint8)), Model(0, 0, 2, Source(OWN, (1, 2)), codes=np.ones((3, 2), np.uint8))])
    )
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        models = unpack_models(bytes(packed), 2)
        assert all(m.frequencies().shape == (m.rows, m.alphabet) for m in models)
    except ExgsError:
        return


def test_limits_part_evenly() -> None:
    limits = quantile_limits(np.full(100, 5), 4)
    assert np.bincount(np.searchsorted(limits, np.arange(100), side="right")).tolist() == [25, 25, 25, 25] or len(limits) == 3
    assert quantile_limits(np.array([100, 1, 1]), 4) in ((1,), (1, 2), ())


def test_neighbours_along_the_curve() -> None:
    near = Earlier.of(np.array([50, 5, 10], np.uint64)).neighbours(np.array([0, 5, 7, 99], np.uint64))
    assert near is not None
    assert [n.tolist() for n in near] == [[1, 1, 1, 0], [1, 2, 2, 0]]
    assert Earlier.of(np.zeros(0, np.uint64)).neighbours(np.zeros(3, np.uint64)) is None


def test_plain_bits() -> None:
    rng = np.random.default_rng(6)
    lengths = rng.integers(0, MAX_LENGTH + 1, 2000)
    values = np.array([int(rng.integers(0, 1 << n)) if n else 0 for n in lengths], np.int64)
    packed = pack_bits(values, lengths)
    assert len(packed) == -(-int(lengths.sum()) // 8)
    np.testing.assert_array_equal(unpack_bits(packed, lengths), values)
    with pytest.raises(ExgsError, match="plain bits"):
        unpack_bits(packed[:-1], lengths)
    assert pack_bits(np.array([5, 1, 0, 255]), np.array([3, 2, 0, 4])) == bytes([0b10101111, 0b10000000])
    assert len(unpack_bits(pack_bits(values[:0], lengths[:0]), lengths[:0])) == 0
