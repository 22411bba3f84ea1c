# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from exgs_blender.errors import ExgsError
from exgs_blender.ugc.bits import pack_bits, unpack_bits
from exgs_blender.ugc.entropy import decode_channels, encode_channels


@pytest.mark.parametrize("count", [0, 1, 2, 5, 255, 256, 1027, 20_000])
def test_channels_come_back(count: int) -> None:
    rng = np.random.default_rng(count)
    base = np.rint(rng.normal(0, 12, count)).astype(np.int64)
    channels = [
        base,
        base + rng.integers(-1, 2, count),
        np.cumsum(rng.integers(-1, 2, count)),
        rng.integers(0, 1 << 30, count),
        np.full(count, -7),
    ]
    decoded = decode_channels(encode_channels(channels), count, len(channels))
    for before, after in zip(channels, decoded, strict=True):
        np.testing.assert_array_equal(before, after)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.data())
def test_any_integers_come_back(number: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 300))
    values = hnp.arrays(np.int64, count, elements=st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 3))
    channels = [data.draw(values) for _ in range(number)]
    decoded = decode_channels(encode_channels(channels), count, number)
    assert all((a == b).all() for a, b in zip(channels, decoded, strict=True))


def test_size_is_near_the_entropy() -> None:
    rng = np.random.default_rng(1)
    values = rng.choice(4, 100_000, p=[0.7, 0.15, 0.1, 0.05])
    entropy = -sum(p * np.log2(p) for p in (0.7, 0.15, 0.1, 0.05)) * len(values) / 8
    assert len(encode_channels([values])) < 1.02 * entropy + 1600


def test_a_context_pays() -> None:
    rng = np.random.default_rng(2)
    first = rng.integers(0, 64, 30_000)
    together = len(encode_channels([first, first ^ (first >> 1)]))
    assert together < 1.6 * len(encode_channels([first]))


def test_slowly_changing_values_use_the_previous_one() -> None:
    values = np.cumsum(np.random.default_rng(3).integers(-1, 2, 30_000)) % 64
    assert len(encode_channels([values])) * 8 < 0.75 * 6 * len(values)


@pytest.mark.parametrize("wrong", [(999, 2), (1000, 1), (2000, 2)])
def test_wrong_counts_are_refused(wrong: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    block = encode_channels([rng.integers(0, 50, 1000), rng.integers(0, 1 << 14, 1000)])
    with pytest.raises(ExgsError, match="block"):
        decode_channels(block, *wrong)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_blocks_raise_only_exgs_errors(data: st.DataObject) -> None:
    """Checksums catch accidents before; this is about a hostile writer with right checksums."""
    rng = np.random.default_rng(5)
    block = bytearray(encode_channels([rng.integers(0, 50, 300), rng.integers(0, 3000, 300)]))
    for _ in range(data.draw(st.integers(1, 4))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_channels(bytes(block[: data.draw(st.integers(0, len(block)))]), 300, 2)
    except ExgsError:
        return
    assert [len(channel) for channel in decoded] == [300, 300]


def test_plain_bits() -> None:
    rng = np.random.default_rng(6)
    lengths = rng.integers(0, 40, 2000)
    values = np.array([int(rng.integers(0, 1 << n)) if n else 0 for n in lengths], np.int64)
    packed = pack_bits(values, lengths)
    assert len(packed) == -(-int(lengths.sum()) // 8)
    np.testing.assert_array_equal(unpack_bits(packed, lengths), values)
    with pytest.raises(ExgsError, match="plain bits"):
        unpack_bits(packed[:-1], lengths)
