# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the compression benchmark that its numbers stand on."""

from __future__ import annotations

import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.compression.child import TOLERANCE, fill, pruning_order
from benchmarks.compression.plot import PSNR_MAX, rate_distortion_svg
from benchmarks.compression.processes import run
from benchmarks.compression.rows import Row
from benchmarks.compression.sheet import CROP, busiest
from benchmarks.compression.targets import TARGETS
from exgs_blender.ugc import decompress
from exgs_blender.ugc.quantise import BALANCED
from tests.clouds import random_gaussians

SVG = "{http://www.w3.org/2000/svg}"


def test_process_is_measured_without_this_ones_memory() -> None:
    ballast = np.ones(40_000_000)
    small = run([sys.executable, "-c", "print('done')"], 60)
    large = run([sys.executable, "-c", "x = bytearray(300_000_000); x[::4096] = b'1' * len(x[::4096])"], 60)
    assert small.output == "done\n"
    assert not small.problem
    assert small.peak_bytes < 100e6 < ballast.nbytes
    assert large.peak_bytes > 300e6


def test_process_that_fails_or_takes_too_long() -> None:
    assert run([sys.executable, "-c", "raise ValueError('no')"], 60).problem == "ValueError: no"
    late = run([sys.executable, "-c", "import time; time.sleep(60)"], 0.5)
    assert late.problem == "not finished in 0.5 s"
    assert late.seconds < 30


@pytest.mark.parametrize("by", ["random", "volume"])
def test_pruned_files_fill_the_budget(by: str) -> None:
    cloud = random_gaussians(4000, 1, seed=3)
    order = pruning_order(cloud, by)
    assert np.array_equal(np.sort(order), np.arange(4000))
    budget = 20_000
    data, kept = fill(lambda count: cloud.select(order[:count]), len(cloud), budget, BALANCED)
    assert (1 - TOLERANCE) * budget <= len(data) <= budget
    assert len(decompress(data).gaussians) == kept


def test_largest_opacity_times_volume_goes_first() -> None:
    cloud = random_gaussians(50, 0, seed=4)
    scales = cloud.scales.copy()
    scales[17] += 5
    assert pruning_order(replace(cloud, scales=scales), "volume")[0] == 17


def test_plot_places_rows_by_size_and_quality() -> None:
    sizes = {1000.0: (1e5, 25.0), 100.0: (1e6, 31.0), 30.0: (3e6, PSNR_MAX + 5)}
    rows = [Row("a <b>", "ours", ratio, bytes=int(size), psnr=psnr) for ratio, (size, psnr) in sizes.items()]
    rows += [Row("a <b>", "spz", None, bytes=2_000_000, psnr=43.0), Row("a <b>", "sog", None, note="not finished in 600 s")]
    root = ElementTree.fromstring(rate_distortion_svg(["a <b>", "empty"], rows))
    (line,) = root.iter(SVG + "polyline")
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in line.attrib["points"].split())
    assert x0 < x1
    assert y0 > y1
    texts = {text.text for text in root.iter(SVG + "text")}
    assert {"a <b>", "empty", "ours", "SPZ v4", "100 kB", "1 MB"} <= texts
    assert "SOG" not in texts


def test_targets_need_their_rows() -> None:
    assert all(target.measure([]) is None for target in TARGETS)
    rows = [Row("banana", "ours", 100.0, psnr=30.0), Row("banana", "geometric", 100.0, psnr=26.5)]
    (value,) = [value for target in TARGETS if (value := target.measure(rows)) is not None]
    assert value == pytest.approx(3.5)


def test_spz_is_compared_at_its_own_psnr() -> None:
    rows = [Row("playbot", "whole", None, bytes=size, psnr=psnr, kept=10, decode_seconds=1.0) for size, psnr in ((100, 40.0), (400, 50.0))]
    rows.append(Row("playbot", "spz", None, bytes=400, psnr=45.0))
    (value,) = [target.measure(rows) for target in TARGETS if "SPZ" in target.title]
    assert value == pytest.approx(50.0)


def test_crop_finds_the_detail() -> None:
    image = np.zeros((400, 700, 3), np.float32)
    image[150:200, 600:650] = np.random.default_rng(5).random((50, 50, 3))
    top, left = busiest(image)
    assert top <= 150 <= 200 <= top + CROP
    assert left <= 600 <= 650 <= left + CROP
