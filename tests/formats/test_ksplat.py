# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from exgs_blender import formats
from exgs_blender.errors import FileError
from exgs_blender.splats import Gaussians, concatenate

from ..clouds import random_gaussians
from .compare import assert_within
from .encoders import KSPLAT_BLOCK, ksplat


def small_cloud(count: int, degree: int, seed: int = 0) -> Gaussians:
    cloud = random_gaussians(count, degree, seed=seed, spread=0.4)
    cloud.quats[:] /= np.linalg.norm(cloud.quats, axis=1, keepdims=True)
    np.clip(cloud.sh0, -1.7, 1.7, out=cloud.sh0)
    return cloud


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("level", range(3))
def test_reads(tmp_path: Path, level: int, degree: int) -> None:
    clouds = [small_cloud(70, degree), small_cloud(33, 0, seed=1)]  # the second one is padded to the first one's degree
    (tmp_path / "cloud").write_bytes(ksplat(clouds, level))
    assert formats.format_of(tmp_path / "cloud").name == "ksplat"
    limits = {"opacities": 0.5 / 255 + 1e-6, "sh0": 0.5 / 255 / 0.28209 + 1e-6}
    if level:
        limits |= {
            "means": 0.5 * KSPLAT_BLOCK / 2 / 32767 + 1e-6,
            "quats": 1e-3,
            "scales": 1e-3,
            "shN": 1e-3 if level == 1 else 0.5 * 3 / 255 + 1e-6,
        }
    assert_within(concatenate(clouds), formats.read(tmp_path / "cloud"), **limits)


def test_fixture(data_dir: Path) -> None:
    folder = data_dir / "fixtures/splat-transform"
    assert_within(formats.read(folder / "minimal.splat"), formats.read(folder / "minimal.ksplat"))


def patched(offset: int, code: str, *values: float) -> bytes:
    content = bytearray(ksplat([small_cloud(40, 1)], 1))
    struct.pack_into("<" + code, content, offset, *values)
    return bytes(content)


S = 4096


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (patched(0, "B", 1), "'version' is 1.1"),
        (patched(1, "B", 0), "'version' is 0.0"),
        (patched(4, "I", 0xFFFFFFFF), "'maxSectionCount' is 4294967295"),
        (patched(4, "I", 5), "'maxSectionCount' is 5"),
        (patched(4, "I", 0), "the sections hold 0"),
        (patched(16, "I", 0), "'splatCount' is 0"),
        (patched(16, "I", 41), "'splatCount' is 41, the sections hold 40"),
        (patched(20, "H", 3), "'compressionLevel' is 3"),
        (patched(36, "f", float("nan")), "no plausible numbers"),
        (patched(S, "I", 41), "section 0: field 'splatCount' is 41, expected at most the 40"),
        (patched(S, "II", 2**31, 2**31), "section 0: claims 90194313272"),
        (patched(S + 8, "I", 0), "section 0: the buckets' fields do not fit"),
        (patched(S + 12, "I", 2**30), "section 0: claims 12884"),
        (patched(S + 12, "I", 0), "section 0: has quantised positions but no buckets"),
        (patched(S + 16, "f", float("inf")), "section 0: the buckets' fields do not fit"),
        (patched(S + 20, "H", 8), "section 0: the buckets' fields do not fit"),
        (patched(S + 32, "I", 9), "section 0: the buckets' fields do not fit"),
        (patched(S + 40, "H", 4), "section 0: field 'SH degree' is 4"),
        (patched(S + 1024, "I", 1), "its buckets hold 37 of 40 Gaussians"),
        (ksplat([small_cloud(40, 1)], 0)[:-1], "the file has"),
        (bytes(100), "header has 100 bytes"),
    ],
)
def test_malformed(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.ksplat"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
