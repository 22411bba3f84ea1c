# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from exgs_blender import formats
from exgs_blender.errors import ExgsError, FileError

from ..clouds import random_gaussians
from .compare import assert_within

LIMITS = {"scales": 1e-6, "opacities": 0.5 / 255 + 1e-6, "sh0": 0.5 / 255 / 0.2820948 + 1e-6, "quats": 0.01}


def test_round_trip(tmp_path: Path) -> None:
    cloud = random_gaussians(300, 0)
    np.clip(cloud.sh0, -1.7, 1.7, out=cloud.sh0)
    formats.write(tmp_path / "cloud.splat", cloud)
    assert_within(cloud, formats.read(tmp_path / "cloud.splat"), **LIMITS)
    (tmp_path / "cloud.splat").rename(tmp_path / "nameless")
    assert formats.format_of(tmp_path / "nameless").name == "splat"


def test_row_is_what_the_specification_says(tmp_path: Path) -> None:
    cloud = random_gaussians(1, 0)
    cloud.means[:], cloud.scales[:], cloud.quats[:] = (1, 2, 3), np.log((0.1, 0.2, 0.3)), (1, 0, -1, 0)
    cloud.sh0[:], cloud.opacities[:] = 0, 16
    formats.write(tmp_path / "one.splat", cloud)
    data = (tmp_path / "one.splat").read_bytes()
    np.testing.assert_allclose(struct.unpack("<6f", data[:24]), [1, 2, 3, 0.1, 0.2, 0.3], rtol=1e-6)
    assert list(data[24:]) == [128, 128, 128, 255, 219, 128, 37, 128]


def test_same_capture_as_its_ply(data_dir: Path) -> None:
    name = "test-splat.3-points-from-train"
    ply = formats.read(data_dir / f"fixtures/metalsplatter/{name}.ply").with_sh_degree(0)
    np.clip(ply.sh0, -0.5 / 0.2820948, 0.5 / 0.2820948, out=ply.sh0)
    splat = formats.read(data_dir / f"fixtures/metalsplatter/{name}.splat")
    whole_steps = {name: 2 * limit for name, limit in LIMITS.items()}  # its writer cuts where ours rounds
    assert_within(ply, splat, **whole_steps)


def test_fixture(data_dir: Path) -> None:
    cloud = formats.read(data_dir / "fixtures/splat-transform/minimal.splat")
    np.testing.assert_array_equal(cloud.means, [[-1, 0, -1], [0, 0, -1], [-1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(np.exp(cloud.scales), 0.1, rtol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-cloud.opacities)), 230 / 255, rtol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(33), "has 33 bytes, expected a multiple of 32"),
        (struct.pack("<6f", 1, 2, 3, 1, -1, 1) + bytes(8), "Gaussian 0 has a negative value in 'scale'"),
        (struct.pack("<6f", 1, 2, 3, 1, float("nan"), 1) + bytes(8), "Gaussian 0 has a negative value in 'scale'"),
        (struct.pack("<6f", 1, 2, 3, 1, float("inf"), 1) + bytes(8), "has a log scale of inf"),
        (struct.pack("<6f", 1, float("nan"), 3, 1, 1, 1) + bytes(8), "value in 'means' that is not finite"),
    ],
)
def test_malformed(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.splat"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_noise_without_the_suffix_is_no_splat(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for size in (32, 320, 3200):
        (tmp_path / "noise").write_bytes(rng.bytes(size))
        with pytest.raises(FileError, match="not a splat file"):
            formats.read(tmp_path / "noise")


def test_sh_is_dropped_only_when_asked(tmp_path: Path) -> None:
    cloud = random_gaussians(5, 2)
    with pytest.raises(ExgsError, match=r"holds SH degree 0, the capture has 2; drop the higher bands \(--sh-degree 0\)"):
        formats.write(tmp_path / "cloud.splat", cloud)
    formats.write(tmp_path / "cloud.splat", cloud.with_sh_degree(0))
    assert len(formats.read(tmp_path / "cloud.splat")) == 5
