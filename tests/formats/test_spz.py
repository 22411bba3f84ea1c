# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exgs_blender import formats
from exgs_blender.errors import ExgsError, FileError, MissingDependencyError
from exgs_blender.formats._spz_container import reference_signs
from exgs_blender.splats import Gaussians
from exgs_blender.splats.spherical_harmonics import sh_signs

from ..clouds import random_gaussians
from .compare import assert_within, refusal
from .encoders import RUB_SIGNS_REFERENCE_LIBRARY, spz_attributes, spz_bytes, spz_header

# Half a quantisation step of each field.
LIMITS = {"means": 0.5 / 4096 + 1e-6, "scales": 0.5 / 16 + 1e-6, "opacities": 0.5 / 255 + 1e-6, "sh0": 0.5 / 255 / 0.15 + 1e-6}
LIMITS["shN"] = 0.5 / 128 + 1e-6


def small_cloud(count: int, degree: int) -> Gaussians:
    """Values inside the ranges that SPZ can store."""
    cloud = random_gaussians(count, degree, seed=count + degree)
    np.clip(cloud.shN, -0.95, 0.95, out=cloud.shN)
    np.clip(cloud.sh0, -3, 3, out=cloud.sh0)
    return cloud


@pytest.mark.parametrize("degree", range(5))
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_round_trip(tmp_path: Path, version: int, degree: int) -> None:
    cloud = small_cloud(200, degree)
    path = tmp_path / "cloud.spz"
    path.write_bytes(spz_bytes(cloud, version))
    again = formats.read(path)
    limits = LIMITS | ({"means": 5e-4} if version == 1 else {})
    # First three: steps of 1/127.5, and where w is small its error grows; smallest three: 1/723.
    quats = 0.12 if version < 3 else 0.003
    assert_within(cloud, again, **limits, quats=quats)


@pytest.mark.parametrize("degree", range(5))
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_written(tmp_path: Path, version: int, degree: int) -> None:
    cloud = small_cloud(200, degree)
    formats.write(tmp_path / "cloud.spz", cloud, version=version)
    again = formats.read(tmp_path / "cloud.spz")
    coarse = {"shN": 0.5 * 16 / 128 + 1e-6, "means": 5e-4 if version == 1 else 0.5 / 4096 + 1e-6}  # 4 bits above degree 1
    assert_within(cloud, again, **LIMITS | coarse, quats=0.12 if version < 3 else 0.003)
    assert np.abs(again.shN[:, :3] - cloud.shN[:, :3]).max(initial=0) <= 0.5 * 8 / 128 + 1e-6


def test_written_like_the_specification(tmp_path: Path) -> None:
    """Byte for byte what the encoder of these tests writes, for values that need no rounding of SH."""
    cloud = small_cloud(50, 0)
    cloud.means[:] *= 100
    formats.write(tmp_path / "cloud.spz", cloud)
    assert gzip.decompress((tmp_path / "cloud.spz").read_bytes()) == gzip.decompress(spz_bytes(cloud, 3))


def test_positions_take_the_bits_that_they_need(tmp_path: Path) -> None:
    for size, bits in ((1.0, 15), (100.0, 12), (5000.0, 10)):
        cloud = small_cloud(50, 0)
        cloud.means[:] *= size / np.abs(cloud.means).max()
        formats.write(tmp_path / "cloud.spz", cloud)
        assert gzip.decompress((tmp_path / "cloud.spz").read_bytes())[13] == bits
        assert np.abs(formats.read(tmp_path / "cloud.spz").means - cloud.means).max() <= 0.5 * 2.0**-bits + 1e-6 * size
    cloud.means[:] *= 1e4
    with pytest.raises(ExgsError, match=r"holds positions up to 8.38861e\+06"):
        formats.write(tmp_path / "far.spz", cloud)
    with pytest.raises(ExgsError, match="version 5 does not exist"):
        formats.write(tmp_path / "new.spz", small_cloud(3, 0), version=5)
    assert [path.name for path in tmp_path.iterdir()] == ["cloud.spz"]


def test_first_three_rotation_is_within_half_a_step(tmp_path: Path) -> None:
    cloud = small_cloud(500, 0)
    cloud.quats[:] /= np.linalg.norm(cloud.quats, axis=1, keepdims=True)
    cloud.quats[:] *= np.where(cloud.quats[:, :1] < 0, -1, 1)
    path = tmp_path / "cloud.spz"
    path.write_bytes(spz_bytes(cloud, 2))
    again = formats.read(path)
    assert np.abs(again.quats[:, 1:] - cloud.quats[:, 1:]).max() <= 0.5 / 127.5 + 1e-6
    assert (again.quats[:, 0] >= 0).all()


@pytest.mark.parametrize("bits", [0, 4, 20])
def test_fractional_bits_and_negative_positions(tmp_path: Path, bits: int) -> None:
    cloud = small_cloud(50, 0)
    path = tmp_path / "cloud.spz"
    path.write_bytes(spz_bytes(cloud, 3, fractional_bits=bits))
    assert np.abs(formats.read(path).means - cloud.means).max() <= 0.5 * 2.0**-bits + 1e-6


def test_mirroring_of_the_reference_library() -> None:
    turned = sh_signs(4, (1, -1, -1)) * reference_signs(4, (1, -1, -1))[:, 0]
    np.testing.assert_array_equal(turned, RUB_SIGNS_REFERENCE_LIBRARY)
    assert (reference_signs(3, (1, -1, -1)) == 1).all()


def record(kind: int, payload: bytes) -> bytes:
    return struct.pack("<II", kind, len(payload)) + payload


@pytest.mark.parametrize("version", [2, 4])
def test_vendor_records(tmp_path: Path, version: int) -> None:
    """Unknown records are skipped; one that names the axes counts: here those of a PLY, so nothing is mirrored."""
    cloud = small_cloud(30, 0)
    path = tmp_path / "cloud.spz"
    path.write_bytes(spz_bytes(cloud, version, record(0x12340001, b"what ever")))
    plain = formats.read(path)
    assert_within(cloud, plain, **LIMITS, quats=0.12)
    path.write_bytes(spz_bytes(cloud, version, record(0x12340001, b"abc") + record(0xADBE0003, struct.pack("<I", 6))))
    stored = formats.read(path)
    np.testing.assert_array_equal(stored.means, plain.means * np.array([1, -1, -1], np.float32))
    np.testing.assert_array_equal(stored.quats, plain.quats * np.array([1, 1, -1, -1], np.float32))
    path.write_bytes(spz_bytes(cloud, version, record(0xADBE0003, struct.pack("<I", 16))))
    with pytest.raises(FileError, match="'coordinate system' is 16"):
        formats.read(path)


def test_gzip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    path = tmp_path / "bomb.spz"
    path.write_bytes(gzip.compress(spz_header(3, 50_000_000, 3) + bytes(50_000_000)))
    with pytest.raises(FileError, match="'numPoints' claims 50000000 Gaussians, which"):
        formats.read(path)
    path.write_bytes(gzip.compress(spz_header(3, 10, 0) + bytes(200_000_000)))
    with pytest.raises(FileError, match="holds more than the 200 bytes"):
        formats.read(path)


def v4(cloud: Gaussians, edit: dict[int, bytes] | None = None, head: bytes | None = None, sizes: dict[int, int] | None = None) -> bytes:
    """A version 4 file with some streams' packed bytes or claimed sizes replaced."""
    streams = [s for s in spz_attributes(cloud, 4) if s]
    packed = [(edit or {}).get(i, zstandard.compress(s)) for i, s in enumerate(streams)]
    table = b"".join(struct.pack("<QQ", len(p), (sizes or {}).get(i, len(streams[i]))) for i, p in enumerate(packed))
    return (head or spz_header(4, len(cloud), cloud.sh_degree, last=len(streams)) + struct.pack("<I12x", 32)) + table + b"".join(packed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda c: v4(c, {1: zstandard.compress(bytes(10_000_000))}), "stream 'alphas' unpacks to more than the 9 bytes"),
        (lambda c: v4(c, {1: zstandard.compress(bytes(8))}), "stream 'alphas' unpacks to less than the 9 bytes"),
        (lambda c: v4(c, {4: b"not zstd"}), "stream 'rotations' cannot be unpacked"),
        (lambda c: v4(c, sizes={0: 10**15}), "stream 'positions' claims 1000000000000000 bytes, expected 81"),
        (lambda c: v4(c)[:-5], "stream 'sh' claims"),
        (lambda c: v4(c)[:40], "'tocByteOffset' is 32"),
        (lambda c: v4(c)[:20], "header has 20 bytes"),
        (lambda c: v4(c, head=spz_header(4, 9, 1, last=5) + struct.pack("<I12x", 32)), "'numStreams' is 5, expected 6"),
        (lambda c: v4(c, head=spz_header(4, 9, 1, last=6) + struct.pack("<I12x", 8)), "'tocByteOffset' is 8"),
        (lambda c: v4(c, head=spz_header(4, 2**31, 1, last=6) + struct.pack("<I12x", 32)), "claims 2147483648 Gaussians"),
        (lambda c: gzip.compress(v4(c)), "'version' is 4, expected 1 to 3 here"),
        (lambda c: spz_bytes(c, 3, bytes(3_000_000)), "vendor records take more than"),
        (lambda c: spz_bytes(c, 3)[:-9], "gzip stream ends early"),
        (lambda c: gzip.compress(spz_header(2, 9, 0, flags=0x80) + bytes(9 * 19)), "level-of-detail tree"),
        (lambda c: gzip.compress(spz_header(2, 9, 0, bits=40) + bytes(9 * 19)), "'fractionalBits' is 40"),
    ],
)
def test_malformed(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "bad.spz"
    path.write_bytes(content(small_cloud(9, 1)))  # type: ignore[operator]
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_version_4_without_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cloud.spz"
    path.write_bytes(spz_bytes(small_cloud(5, 0), 4))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match="zstandard"):
        formats.read(path)


BAD = {
    "bad-crc-v2": "incorrect data check",
    "bad-fhcrc-v2": "header crc mismatch",
    "bad-isize-v2": "incorrect length check",
    "corrupt-deflate": "invalid block type",
    "count-exceeds-stream-v2": "claims 1000000 Gaussians (19000000 bytes)",
    "decode-nonfinite-v1": "value in 'means' that is not finite",
    "empty-points-v2": "'numPoints' is 0",
    "gzip-not-spz": "field 'magic'",
    "huge-count-v2": "claims 2147483648 Gaussians",
    "not-spz": "not a splat file",
    "plaintext-v4": "'tocByteOffset' is 32",
    "sh-degree-5-v2": "'SH degree' is 5",
    "short-stream": "unpacks to 10 bytes",
    "trailing-decompressed-v2": "holds more than the 19 bytes",
    "truncated-deflate-v2": "gzip stream ends early",
    "truncated-gzip-header": "header has 0 bytes",
    "truncated-payload-v2": "claims 3 Gaussians (57 bytes)",
    "version-0": "'version' is 0",
    "version-5": "'version' is 5",
}
# Readable, if odd: bytes after the gzip member, a long file name in its header, vendor records, no gzip at all.
GOOD = ["decode-degree1-v2", "decode-degree3-v2", "decode-degree4-v2", "decode-v1", "decode-v3", "degree3-v2", "degree4-v2"]
GOOD += ["extensions-v2", "header-fields-v2", "long-fname-v2", "minimal-v1", "minimal-v2", "minimal-v3", "plaintext-v2"]
GOOD += ["three-points-degree1-v2", "trailing-after-member-v2"]


def test_every_fixture_is_judged(data_dir: Path) -> None:
    assert {path.stem for path in (data_dir / "fixtures/spz").glob("*.spz")} == {*GOOD, *BAD}


@pytest.mark.parametrize("name", BAD)
def test_malformed_fixture(data_dir: Path, name: str) -> None:
    path = data_dir / "fixtures/spz" / f"{name}.spz"
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert BAD[name] in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", GOOD)
def test_good_fixture(data_dir: Path, name: str) -> None:
    assert len(formats.read(data_dir / "fixtures/spz" / f"{name}.spz")) > 0


def test_odd_but_whole_files_hold_the_same(data_dir: Path) -> None:
    plain = formats.read(data_dir / "fixtures/spz/minimal-v2.spz")
    for name in ("extensions-v2", "header-fields-v2", "long-fname-v2", "plaintext-v2", "trailing-after-member-v2"):
        assert_within(plain, formats.read(data_dir / "fixtures/spz" / f"{name}.spz"))


def test_golden_values(data_dir: Path) -> None:
    """Against decode-degree1-v2.spz.golden.usda, which is in the file's own axes (right, up, back)."""
    cloud = formats.read(data_dir / "fixtures/spz/decode-degree1-v2.spz")
    np.testing.assert_allclose(cloud.means, np.array([[1, 2, -0.5], [-3, 0.25, 4]]) * [1, -1, -1])
    np.testing.assert_allclose(np.exp(cloud.scales), [[1, 2.7182817, 0.36787945], [1.6487212, 0.60653067, 1]], rtol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-cloud.opacities)), [0.8, 0.6], rtol=1e-6)
    quats = np.array([[0.99997693, 0.003921628, 0.003921628, 0.003921628], [0.7043775, 0.70980394, 0.003921628, 0.003921628]])
    np.testing.assert_allclose(cloud.quats, quats * [1, 1, -1, -1], atol=2e-7)
    np.testing.assert_allclose(cloud.sh0[:, 0], [[0.013072093, 0.50980407, -0.5098039], [0.9019609, -0.9019607, 0.013072093]], atol=3e-7)
    first = np.array([[0.1015625, 0.203125, 0.296875], [-0.1015625, -0.203125, -0.296875], [0.3984375, -0.3984375, 0.5]])
    second = np.array([[0.046875, -0.046875, 0.1484375], [0.25, 0.3515625, -0.453125], [-0.6015625, 0.6015625, 0.1015625]])
    np.testing.assert_allclose(cloud.shN, np.stack([first, second]) * [[-1], [-1], [1]])


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), version=st.integers(1, 4))
def test_damaged_files_end_in_one_line(tmp_path: Path, data: st.DataObject, version: int) -> None:
    """Changed header bytes (before compression for gzip) read to a valid cloud or end in an ExgsError."""
    whole = spz_bytes(small_cloud(4, 1), version)
    content = bytearray(whole if version == 4 else gzip.decompress(whole))
    end = 32 + 6 * 16 if version == 4 else 16
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "fuzz.spz"
    path.write_bytes(bytes(content) if version == 4 else gzip.compress(bytes(content)))
    assert "\n" not in refusal(path)
