# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exgs_blender import formats
from exgs_blender.formats.describe import describe

from ..clouds import random_gaussians
from .encoders import sog_parts, write_folder


def test_facts_of_a_ply(tmp_path: Path) -> None:
    cloud = random_gaussians(200, 2)
    cloud.quats[:] /= np.linalg.norm(cloud.quats, axis=1, keepdims=True)
    cloud.quats[0] = 0
    cloud.quats[1:4] *= 2
    cloud.opacities[5:7] = 16
    cloud.scales[7] = 3
    cloud.means[:, 0] = np.arange(200)
    path = tmp_path / "cloud.ply"
    formats.write(path, cloud)
    facts = describe(path, cloud)
    assert facts["format"] == "Gaussian Splatting PLY"
    assert (facts["gaussians"], facts["sh_degree"]) == (200, 2)
    assert facts["bytes_on_disk"] == path.stat().st_size
    assert facts["bytes_as_ply"] == 200 * 4 * (14 + 24)
    assert facts["ratio"] == pytest.approx(200 * 4 * 38 / path.stat().st_size, abs=0.006)
    assert facts["bounds_max"][0] == 199  # type: ignore[index]
    assert facts["position_p50"][0] == pytest.approx(99.5)  # type: ignore[index]
    assert 0 <= facts["opacity_p1"] <= facts["opacity_p50"] <= facts["opacity_p99"] <= 1  # type: ignore[operator]
    assert facts["scale_p50"] == pytest.approx(float(np.median(np.exp(cloud.scales.max(axis=1)))), rel=1e-5)
    assert (facts["zero_quaternions"], facts["nonunit_quaternions"]) == (1, 3)
    assert facts["opacities_at_limit"] == 2
    assert facts["huge_scales"] == 0
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_huge_scales_are_relative_to_the_cloud(tmp_path: Path) -> None:
    cloud = random_gaussians(200, 0, spread=0.01)
    cloud.scales[7] = 0
    formats.write(tmp_path / "cloud.ply", cloud)
    assert describe(tmp_path / "cloud.ply", cloud)["huge_scales"] == 1


def test_a_folder_counts_all_its_files(tmp_path: Path) -> None:
    parts = sog_parts(random_gaussians(50, 0))
    folder = write_folder(tmp_path / "cloud", parts)
    for path in (folder, folder / "meta.json"):
        facts = describe(path, formats.read(path))
        assert facts["format"] == "SOG (PlayCanvas)"
        assert facts["bytes_on_disk"] == sum(len(content) for content in parts.values())


def test_one_gaussian(tmp_path: Path) -> None:
    cloud = random_gaussians(1, 0)
    formats.write(tmp_path / "cloud.ply", cloud)
    facts = describe(tmp_path / "cloud.ply", cloud)
    assert facts["bounds_min"] == facts["bounds_max"] == facts["position_p50"]
    assert facts["huge_scales"] == 0
