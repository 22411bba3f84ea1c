# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from exgs_blender.errors import CancelledError, ExgsError
from exgs_blender.splats import Gaussians
from exgs_blender.ugc import CompressSettings, compress, decompress
from exgs_blender.ugc.pipeline import Method, encode_all

from ..clouds import random_gaussians
from .made_up import random_statistics


@pytest.mark.parametrize("method", ["merge", "exgs"])
@pytest.mark.parametrize("ratio", [3, 9.5, 40, 100])
def test_the_ratio_is_hit_from_below(method: Method, ratio: float) -> None:
    cloud = random_gaussians(20_000, 2)
    result = compress(cloud, random_statistics(20_000, unseen=0.0), CompressSettings(ratio, method, source_name="made up"))
    assert ratio <= result.ratio
    assert len(result.data) == pytest.approx(cloud.ply_bytes / result.ratio)
    if result.kept < len(cloud) and ratio <= 40:  # a few dozen Gaussians more or less are 3 % of the smallest files
        assert result.ratio < 1.035 * ratio
    assert set(result.sections) >= {"position", "scale", "rotation", "opacity", "colour"}


@pytest.mark.parametrize("method", ["merge", "exgs"])
def test_the_result_is_what_a_reader_gets(method: Method) -> None:
    cloud = random_gaussians(5000, 3)
    result = compress(cloud, random_statistics(5000), CompressSettings(30, method, source_name="made up"))
    asset = decompress(result.data)
    for (name, expected), (_, found) in zip(result.gaussians.arrays(), asset.gaussians.arrays(), strict=True):
        np.testing.assert_array_equal(expected, found, err_msg=name)
    assert asset.metadata["source_count"] == 5000
    assert asset.metadata["kept"] == len(asset.gaussians) == result.kept
    assert asset.metadata["method"] == method
    assert asset.metadata["source_name"] == "made up"
    assert asset.keep_ratio == pytest.approx(result.kept / 5000)


class Measured:
    """Views that measure, but do not fit."""

    def __init__(self, error: Callable[[Gaussians], float]) -> None:
        self.error = error


def test_amplification_follows_the_measured_error() -> None:
    cloud, wanted = random_gaussians(5000, 0), 0.6

    def error(candidate: Gaussians) -> float:
        return (float(candidate.scales.mean()) - float(cloud.scales.mean()) - wanted) ** 2

    settings = CompressSettings(40, "exgs")
    searched = compress(cloud, random_statistics(5000), settings, views=Measured(error))  # type: ignore[arg-type]
    default = compress(cloud, random_statistics(5000), settings)
    assert error(searched.gaussians) < error(default.gaussians)


def test_near_lossless_keeps_every_gaussian() -> None:
    cloud = random_gaussians(3000, 2)
    result = compress(cloud, random_statistics(3000, unseen=0.3), CompressSettings(keep_all=True))
    assert result.kept == 3000
    assert result.data[:5] == encode_all(cloud)[:5]
    spread = np.sort(np.linalg.norm(result.gaussians.means, axis=1)) - np.sort(np.linalg.norm(cloud.means, axis=1))
    assert np.abs(spread).max() < 1e-3 * np.abs(cloud.means).max()


def test_the_same_input_gives_the_same_file() -> None:
    cloud, statistics = random_gaussians(4000, 1), random_statistics(4000)
    first, second = (compress(cloud, statistics, CompressSettings(30)).data for _ in range(2))
    assert first == second


@pytest.mark.parametrize("method", ["merge", "exgs"])
def test_too_small_a_cloud_is_an_error_that_says_so(method: Method) -> None:
    with pytest.raises(ExgsError, match="20 Gaussians are too few for a ratio of 100"):
        compress(random_gaussians(20), random_statistics(20), CompressSettings(100, method))


def test_settings_are_checked() -> None:
    with pytest.raises(ExgsError, match=r"ratio is 0\.5"):
        CompressSettings(0.5)
    with pytest.raises(ExgsError, match="psnr is 99"):
        CompressSettings(psnr=99)
    with pytest.raises(ExgsError, match="only be reached with views"):
        compress(random_gaussians(50), random_statistics(50), CompressSettings(psnr=30))
    with pytest.raises(ExgsError, match="method is 'best'"):
        CompressSettings(method="best")  # type: ignore[arg-type]
    with pytest.raises(ExgsError, match="statistics are of 5"):
        compress(random_gaussians(6), random_statistics(5), CompressSettings())


def test_cancel_stops_the_work() -> None:
    def cancel(stage: str, fraction: float) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        compress(random_gaussians(2000), random_statistics(2000), CompressSettings(30), report=cancel)
