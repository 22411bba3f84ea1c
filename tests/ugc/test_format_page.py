# SPDX-License-Identifier: GPL-3.0-or-later
"""The specification page is enough: a decoder written from it alone reads what the package writes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exgs_blender.splats import Gaussians
from exgs_blender.ugc import decompress, layer_coding
from exgs_blender.ugc.bitstream import encode_cloud
from exgs_blender.ugc.quantise import BALANCED, EXTREME, NEAR_LOSSLESS, Steps, quantise

from ..clouds import random_gaussians
from . import stranger


def _agree(data: bytes, found: Gaussians) -> None:
    read = stranger.decode(data)
    for name, array in found.arrays():
        expected = np.asarray(read[name], np.float64).reshape(array.shape)
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("steps", [EXTREME, BALANCED, NEAR_LOSSLESS])
@pytest.mark.parametrize(("count", "degree"), [(0, 0), (1, 3), (2, 1), (300, 2), (1300, 0)])
def test_a_stranger_reads_our_files(count: int, degree: int, steps: Steps) -> None:
    cloud = random_gaussians(count, degree, seed=count)
    data, _ = encode_cloud(quantise(replace(cloud, shN=0.3 * cloud.shN), steps), {"note": "read me"})
    _agree(data, decompress(data).gaussians)
    assert stranger.decode(data)["notes"] == {"note": "read me"}


def test_a_stranger_reads_contexts_from_neighbours_and_each_other() -> None:
    """A smooth cloud, whose attributes tell about each other: every kind of source is used."""
    rng = np.random.default_rng(1)
    means = rng.uniform(-1, 1, (1500, 3)).astype(np.float32)
    wave = np.sin(5 * means) + 0.05 * rng.normal(size=(1500, 3))
    cloud = replace(
        random_gaussians(1500, 1), means=means, scales=wave - 3, sh0=wave[:, None], shN=wave[:, None] * 0.3 + np.zeros((1, 3, 1))
    )
    quantised = quantise(cloud, BALANCED)
    columns, _ = layer_coding.columns_of(quantised)
    assert len(columns.symbols) > layer_coding.SH
    data, _ = encode_cloud(quantised, {})
    _agree(data, decompress(data).gaussians)
