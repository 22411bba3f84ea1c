# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import lzma
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exgs_blender.errors import FileError
from exgs_blender.splats import Gaussians
from exgs_blender.ugc import compiled, decompress, layer_coding
from exgs_blender.ugc import quantise as quantise_module
from exgs_blender.ugc.bitstream import decode_gaussians, encode_cloud, section_sizes
from exgs_blender.ugc.container import MAGIC, read_container, write_container
from exgs_blender.ugc.dequantise import dequantise
from exgs_blender.ugc.pipeline import encode_all
from exgs_blender.ugc.quantise import BALANCED, EXTREME, FINE, NEAR_LOSSLESS, Steps, quantise, select_layers

from ..clouds import random_gaussians

GOLDEN = Path(__file__).parent / "golden"
SECTIONS = ("head", "notes", "tables", "layer 0", "layer 1")
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}]
HEAD = {"sh_degree": 0, "components": 1, "layers": 2, "refinements": 3, "bits": 4}


@pytest.fixture(scope="module")
def sample() -> bytes:
    return encode_all(random_gaussians(1100, 2), Steps())


def _sections(data: bytes) -> dict[str, bytes]:
    return read_container(data, "x").sections


def _with_head(data: bytes, **changes: int) -> bytes:
    """The file with other values in its head, checksums right."""
    sections = _sections(data)
    head = bytearray(sections["head"])
    for name, value in changes.items():
        if name == "first_layer":
            struct.pack_into("<I", head, 140, value)
        elif name == "levels":
            struct.pack_into("<I", head, 8, value)
        elif name == "radius":
            struct.pack_into("<d", head, 12 + 24, value)
        else:
            head[HEAD[name]] = value
    return write_container({**sections, "head": bytes(head)})


@pytest.mark.parametrize(("count", "degree"), [(0, 0), (1, 3), (7, 0), (400, 1), (3000, 4), (12_000, 2)])
def test_a_decoded_file_is_the_rounded_cloud(count: int, degree: int) -> None:
    quantised = quantise(random_gaussians(count, degree), Steps())
    data, sizes = encode_cloud(quantised, {"note": "x"})
    asset = decompress(data)
    for (name, expected), (_, found) in zip(dequantise(quantised).arrays(), asset.gaussians.arrays(), strict=True):
        np.testing.assert_array_equal(expected, found, err_msg=name)
    assert asset.metadata == {"note": "x"}
    assert sum(sizes.values()) == len(data)
    assert min(sizes.values()) >= 0


@pytest.mark.parametrize("section", SECTIONS)
def test_a_flipped_bit_is_blamed_on_its_section(sample: bytes, section: str) -> None:
    body = _sections(sample)[section]
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
    with pytest.raises(FileError, match="truncated: section 'layer 1' needs bytes"):
        decompress(sample[:-10])


def test_other_version_other_file_trailing_bytes(sample: bytes) -> None:
    newer = bytearray(sample)
    newer[8:10] = struct.pack("<H", 3)
    newer[12:16] = struct.pack("<I", zlib.crc32(newer[:12]))
    with pytest.raises(FileError, match=r"version 3 of the \.exgs format, this program reads versions 1 and 2\. Update ExGS"):
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
        ({"first_layer": 10**9}, "section 'head': claims 1000000825 Gaussians"),
        ({"first_layer": 274}, "section 'layer 0'"),
        ({"sh_degree": 9}, "sh_degree is 9"),
        ({"sh_degree": 1}, "SH components are too many"),
        ({"components": 3}, "section 'tables'"),
        ({"layers": 3}, "section 'head': has"),
        ({"refinements": 200}, "section 'head': has"),
        ({"bits": 60}, "grid bits is 60"),
        ({"bits": 2}, "section 'layer 0': a position lies outside the grid"),
        ({"levels": 0}, "opacity levels is 0"),
        ({"radius": float("nan")}, "not finite"),
    ],
)
def test_hostile_heads(sample: bytes, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FileError, match=message):
        decompress(_with_head(sample, **changes))


def test_values_that_overflow_are_named(sample: bytes) -> None:
    with pytest.raises(FileError, match="'means' that is not finite"):
        decompress(_with_head(sample, radius=1e300))


@pytest.mark.parametrize(
    "content", [b"", b"x", zlib.compress(b"["), zlib.compress(b"[1]"), zlib.compress(b"\xff"), zlib.compress(bytes(1 << 21))]
)
def test_notes_that_are_no_json(sample: bytes, content: bytes) -> None:
    with pytest.raises(FileError, match="section 'notes'"):
        decompress(write_container({**_sections(sample), "notes": content}))


@pytest.mark.parametrize("section", SECTIONS)
def test_a_missing_section_is_named(sample: bytes, section: str) -> None:
    sections = _sections(sample)
    del sections[section]
    with pytest.raises(FileError, match=f"section '{section}': is missing"):
        decompress(write_container(sections))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_with_right_checksums_raises_only_file_errors(sample: bytes, data: st.DataObject) -> None:
    """Checksums catch accidents before; this is about a hostile writer."""
    sections = _sections(sample)
    name = data.draw(st.sampled_from(SECTIONS))
    content = bytearray(sections[name])
    if name == "tables":
        content = bytearray(lzma.decompress(bytes(content), lzma.FORMAT_RAW, filters=FILTERS))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, min(len(content), 4000) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(len(content) - 3, len(content)))])
    sections[name] = lzma.compress(cut, lzma.FORMAT_RAW, filters=FILTERS) if name == "tables" else cut
    with suppress(FileError):
        assert len(decompress(write_container(sections), "hostile.exgs").gaussians) <= 8 * (len(sample) + 64)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 300),
    st.integers(0, 4),
    st.sampled_from([EXTREME, BALANCED, FINE, NEAR_LOSSLESS]),
    st.integers(0, 1000),
    st.floats(0, 3),
)
def test_any_cloud_comes_back_as_it_was_rounded(count: int, degree: int, steps: Steps, seed: int, spread: float) -> None:
    cloud = random_gaussians(count, degree, seed=seed)
    rng = np.random.default_rng(seed)
    wild = {name: array * rng.lognormal(0, spread, (count,) + (1,) * (array.ndim - 1)) for name, array in cloud.arrays()}
    quantised = quantise(Gaussians(**wild), steps)
    decoded = decode_gaussians(encode_cloud(quantised, {})[0], "x")[0]
    for (name, expected), (_, found) in zip(dequantise(quantised).arrays(), decoded.arrays(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=name)


def test_a_prefix_decodes_to_the_layers_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantise_module, "LAYERS", ((0, (0.1, 0.3)),))
    quantised = quantise(random_gaussians(6000, 1), BALANCED)
    data, _ = encode_cloud(quantised, {"note": 1})
    sizes = section_sizes(data, "x")
    start = len(data) - sizes["layer 0"] - sizes["layer 1"] - sizes["layer 2"]
    for layers, end in ((1, start + sizes["layer 0"]), (2, len(data) - 1), (2, len(data) - sizes["layer 2"]), (3, len(data))):
        asset = decompress(data[:end], partial=True)
        expected = dequantise(select_layers(quantised, layers))
        assert len(asset.gaussians) == sum(quantised.layers[:layers])
        np.testing.assert_allclose(asset.gaussians.shN, expected.shN, atol=1e-6)
        np.testing.assert_array_equal(asset.gaussians.means, expected.means)
    with pytest.raises(FileError, match="section 'layer 0': is incomplete"):
        decompress(data[: start + 10], "x", partial=True)
    with pytest.raises(FileError, match="section 'tables': is incomplete"):
        decompress(data[: start - 10], "x", partial=True)
    with pytest.raises(FileError, match="truncated: section 'layer 2'"):
        decompress(data[:-1])
    damaged = bytearray(data)
    damaged[-sizes["layer 2"] - 5] ^= 1
    with pytest.raises(FileError, match="section 'layer 1' does not match"):
        decompress(bytes(damaged[:-5]), partial=True)


def test_a_large_layer_is_coded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = random_gaussians(3000, 1)
    quantised = quantise(cloud, BALANCED)
    whole = decompress(encode_cloud(quantised, {})[0]).gaussians
    monkeypatch.setattr(layer_coding, "PART", 700)
    assert [len(layer) for layer in layer_coding.parts_of(quantised.layers)] == [2, 4]
    for (name, expected), (_, found) in zip(whole.arrays(), decompress(encode_cloud(quantised, {})[0]).gaussians.arrays(), strict=True):
        rounding = 1e-7 if name == "shN" else 0  # BLAS adds up in another order where a part ends
        np.testing.assert_allclose(expected, found, rtol=0, atol=rounding, err_msg=name)


def test_the_compiled_decoder_is_a_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    for steps in (BALANCED, NEAR_LOSSLESS):
        data = encode_all(random_gaussians(3000, 2), steps)
        slow = decompress(data).gaussians
        monkeypatch.setattr(compiled, "COMPILED_FROM", 0)
        for (name, expected), (_, found) in zip(slow.arrays(), decompress(data).gaussians.arrays(), strict=True):
            np.testing.assert_allclose(expected, found, rtol=1e-6, atol=1e-6, err_msg=name)
        monkeypatch.undo()


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
from exgs_blender.splats import Gaussians
from exgs_blender.ugc import compiled, decompress, layer_coding
from exgs_blender.ugc import quantise as quantise_module
assert len(decompress(open({str(tmp_path / "a.exgs")!r}, "rb").read()).gaussians) == 1100
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
