# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exgs_blender.errors import FileError
from exgs_blender.ugc import decompress
from exgs_blender.ugc.bitstream import MAGIC, encode_cloud, read_container, write_container
from exgs_blender.ugc.pipeline import encode_all
from exgs_blender.ugc.quantise import Steps, dequantise, quantise

from ..clouds import random_gaussians

GOLDEN = Path(__file__).parent / "golden"
SECTIONS = ("meta", "position", "scale", "rotation", "colour", "opacity", "sh")


@pytest.fixture(scope="module")
def sample() -> bytes:
    return encode_all(random_gaussians(400, 2), Steps())


def _with_meta(data: bytes, **changes: Any) -> bytes:
    """The file with other values in its metadata, checksums right."""
    sections = read_container(data, "x")
    meta = json.loads(sections["meta"])
    for path, value in changes.items():
        target, *rest = path.split("__")
        if rest:
            meta[target][rest[0]] = value
        else:
            meta[target] = value
    sections["meta"] = json.dumps(meta).encode()
    return write_container(sections)


@pytest.mark.parametrize(("count", "degree"), [(0, 0), (1, 3), (7, 0), (400, 1), (3000, 4)])
def test_a_decoded_file_is_the_rounded_cloud(count: int, degree: int) -> None:
    quantised = quantise(random_gaussians(count, degree), Steps())
    data, sizes = encode_cloud(quantised, {"note": "x"})
    asset = decompress(data)
    for (name, expected), (_, found) in zip(dequantise(quantised).arrays(), asset.gaussians.arrays(), strict=True):
        np.testing.assert_array_equal(expected, found, err_msg=name)
    assert asset.metadata == {"note": "x"}
    assert sum(sizes.values()) + 16 + 32 * len(sizes) == len(data)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_flipped_bit_is_blamed_on_its_section(sample: bytes, section: str) -> None:
    body = read_container(sample, "x")[section]
    damaged = bytearray(sample)
    damaged[sample.index(body) + len(body) // 2] ^= 4
    with pytest.raises(FileError, match=rf"bad\.exgs: section '{section}' does not match its checksum"):
        decompress(bytes(damaged), "bad.exgs")


def test_every_truncation_and_every_flipped_bit_is_an_error(sample: bytes) -> None:
    for size in [*range(0, 300, 7), *range(300, len(sample), 211), len(sample) - 1]:
        with pytest.raises(FileError):
            decompress(sample[:size])
    for position in [*range(300), *range(300, len(sample), 97)]:
        damaged = bytearray(sample)
        damaged[position] ^= 1 << (position % 8)
        with pytest.raises(FileError):
            decompress(bytes(damaged))


def test_a_truncated_file_names_the_section(sample: bytes) -> None:
    with pytest.raises(FileError, match="truncated: section 'sh' needs bytes"):
        decompress(sample[:-10])


def test_other_version_other_file_trailing_bytes(sample: bytes) -> None:
    newer = bytearray(sample)
    newer[8:10] = struct.pack("<H", 2)
    newer[12:16] = struct.pack("<I", zlib.crc32(newer[:12]))
    with pytest.raises(FileError, match=r"version 2 of the \.exgs format, this program reads version 1\. Update ExGS"):
        decompress(bytes(newer))
    with pytest.raises(FileError, match=r"not an \.exgs file"):
        decompress(b"ply\nformat binary_little_endian 1.0\n")
    with pytest.raises(FileError, match="header is damaged"):
        decompress(MAGIC[:5] + b"\n\x1a" + sample[8:])
    with pytest.raises(FileError, match="3 bytes follow"):
        decompress(sample + b"abc")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 10**9}, "claims 1000000000 Gaussians"),
        ({"count": -1}, "claims -1"),
        ({"count": 399}, "section 'position'"),
        ({"count": 4.0}, "whole number"),
        ({"sh_degree": 9}, "sh_degree is 9"),
        ({"sh_components": 5000}, "sh_components is 5000"),
        ({"sh_components": 3}, "section 'sh'"),
        ({"steps__position_bits": 60}, "out of range"),
        ({"steps__position_bits": 4}, "outside the grid"),
        ({"steps__opacity_levels": 0}, "out of range"),
        ({"steps__scale": "x"}, "section 'meta'"),
        ({"steps": {}}, "lacks the field"),
        ({"contraction__radius": 1e300}, "not finite"),
        ({"metadata": []}, "section 'meta'"),
    ],
)
def test_hostile_metadata(sample: bytes, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FileError, match=message):
        decompress(_with_meta(sample, **changes))


def test_metadata_that_is_no_json(sample: bytes) -> None:
    sections = read_container(sample, "x")
    for content in (b"", b"[", b"[1]", b"\xff", b'{"count": NaN}'):
        with pytest.raises(FileError, match="section 'meta'"):
            decompress(write_container({**sections, "meta": content}))


def test_a_missing_section_is_named(sample: bytes) -> None:
    sections = read_container(sample, "x")
    del sections["scale"]
    with pytest.raises(FileError, match="section 'scale': is missing"):
        decompress(write_container(sections))


def test_identical_gaussians_are_padded_to_the_allowed_density() -> None:
    cloud = random_gaussians(1, 0).select(np.zeros(200_000, int))
    data = encode_all(cloud, Steps())
    assert len(data) >= len(cloud) // 8
    assert len(decompress(data).gaussians) == len(cloud)


def test_decoding_needs_only_numpy_and_the_standard_library(sample: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.exgs").write_bytes(sample)
    code = f"""
import sys
for name in ("torch", "numba", "PIL", "zstandard", "plyfile", "scipy", "OpenEXR"):
    sys.modules[name] = None
from exgs_blender.ugc import decompress
assert len(decompress(open({str(tmp_path / "a.exgs")!r}, "rb").read()).gaussians) == 400
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.exgs")), ids=lambda path: path.stem)
def test_golden_files_decode_for_ever(path: Path) -> None:
    """Released bytes: files are added here, never replaced."""
    asset = decompress(path.read_bytes(), path.name)
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as expected:
        for name, array in asset.gaussians.arrays():
            np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert asset.metadata["kept"] == len(asset.gaussians)


def test_there_are_golden_files() -> None:
    assert len(list(GOLDEN.glob("*.exgs"))) >= 1
