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

BUCKET, BLOCK = 16, 2.0


def rows_of(cloud: Gaussians, level: int, positions: np.ndarray) -> bytes:
    number = "<f4" if level == 0 else "<f2"
    degree = cloud.sh_degree
    bands = [cloud.shN[:, b * b - 1 : (b + 1) ** 2 - 1].transpose(0, 2, 1).reshape(len(cloud), -1) for b in range(1, degree + 1)]
    sh = np.concatenate(bands, axis=1) if bands else np.zeros((len(cloud), 0))
    coded = {0: sh.astype("<f4"), 1: sh.astype("<f2"), 2: np.clip(np.round((sh + 1.5) / 3 * 255), 0, 255).astype("u1")}[level]
    rgba = np.concatenate([0.5 + 0.28209479 * cloud.sh0[:, 0], 1 / (1 + np.exp(-cloud.opacities[:, None]))], axis=1)
    rgba = np.clip(np.round(rgba * 255), 0, 255).astype("u1")
    columns = [positions, np.exp(cloud.scales).astype(number), cloud.quats.astype(number), rgba, coded]
    return b"".join(b"".join(np.ascontiguousarray(c[i]).tobytes() for c in columns) for i in range(len(cloud)))


def section(cloud: Gaussians, level: int) -> tuple[bytes, bytes]:
    """(header, data): full buckets first, the rest in two partly filled ones."""
    count = len(cloud)
    full = count // BUCKET
    partial = [(count - full * BUCKET) // 2, count - full * BUCKET - (count - full * BUCKET) // 2] if count % BUCKET else []
    sizes = [BUCKET] * full + partial
    owner = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.array([cloud.means[owner == b].mean(axis=0) if (owner == b).any() else (0, 0, 0) for b in range(len(sizes))], "<f4")
    if level == 0:
        positions, table, partial, centres, full = cloud.means.astype("<f4"), b"", [], np.zeros((0, 3), "<f4"), 0
    else:
        positions = np.round((cloud.means - centres[owner]) / (BLOCK / 2) * 32767 + 32767).astype("<u2")
        table = np.array(partial, "<u4").tobytes()
    data = table + centres.tobytes() + rows_of(cloud, level, positions)
    header = struct.pack("<IIIIfHHIIIIH", count, count, BUCKET, len(centres), BLOCK, 12, 0, 0, 0, full, len(partial), cloud.sh_degree)
    return header.ljust(1024, b"\0"), data


def ksplat(clouds: list[Gaussians], level: int) -> bytes:
    parts = [section(cloud, level) for cloud in clouds]
    total = sum(len(cloud) for cloud in clouds)
    header = struct.pack("<BBHIIIIHH3fff", 0, 1, 0, len(parts), len(parts), total, total, level, 0, 0, 0, 0, -1.5, 1.5)
    return header.ljust(4096, b"\0") + b"".join(h for h, _ in parts) + b"".join(d for _, d in parts)


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
            "means": 0.5 * BLOCK / 2 / 32767 + 1e-6,
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
