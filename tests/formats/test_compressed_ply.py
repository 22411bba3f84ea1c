# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exgs_blender import formats
from exgs_blender.errors import ExgsError, FileError
from exgs_blender.splats.activation import SH_C0
from exgs_blender.splats.morton import morton_order

from ..clouds import random_gaussians
from .compare import assert_within, in_order_of, refusal
from .encoders import compressed_ply_bytes


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("chunk_colours", [True, False])
def test_round_trip(tmp_path: Path, degree: int, chunk_colours: bool) -> None:
    cloud = random_gaussians(700, degree, seed=degree)  # three chunks, the last one not full
    if not chunk_colours:
        np.clip(cloud.sh0, -0.49 / SH_C0, 0.49 / SH_C0, out=cloud.sh0)
    path = tmp_path / "cloud.ply"  # found by content, not by name
    path.write_bytes(compressed_ply_bytes(cloud, chunk_colours))
    assert formats.format_of(path).name == "compressed_ply"
    colour_step = np.ptp(cloud.sh0) / 255 if chunk_colours else 1 / 255 / SH_C0
    assert_within(
        cloud,
        formats.read(path),
        means=0.5 * 2 / 1023 + 1e-6,
        scales=0.5 * np.ptp(cloud.scales) / 1023 + 1e-6,
        opacities=0.5 / 255 + 1e-6,
        sh0=0.5 * colour_step + 1e-6,
        shN=0.5 * 8 / 256 + 1e-6,
        quats=0.003,
    )


@pytest.mark.parametrize("degree", range(4))
def test_written(tmp_path: Path, degree: int) -> None:
    cloud = random_gaussians(700, degree, seed=degree)
    formats.write(tmp_path / "cloud.compressed.ply", cloud)
    again = formats.read(tmp_path / "cloud.compressed.ply")
    assert formats.format_of(tmp_path / "cloud.compressed.ply").name == "compressed_ply"
    limits = {"means": 0.5 * 2 / 1023, "scales": 0.5 * np.ptp(cloud.scales) / 1023, "opacities": 0.5 / 255, "shN": 0.5 * 8 / 256}
    limits |= {"sh0": 0.5 * np.ptp(cloud.sh0) / 255, "quats": 0.003}
    assert_within(in_order_of(cloud, again), again, **{name: limit + 1e-6 for name, limit in limits.items()})


def test_written_like_the_specification(tmp_path: Path) -> None:
    """What the encoder of these tests writes for the same order: all but the rounding of a rare value."""
    cloud = random_gaussians(600, 2)
    cloud = cloud.select(morton_order(cloud.means))
    formats.write(tmp_path / "cloud.compressed.ply", cloud)
    (tmp_path / "twin.ply").write_bytes(compressed_ply_bytes(cloud))
    ours, twin = (formats.read(tmp_path / name) for name in ("cloud.compressed.ply", "twin.ply"))
    for name, array in ours.arrays():
        assert (array != getattr(twin, name)).mean() < 0.01, name


def test_degree_4_is_refused_not_cut(tmp_path: Path) -> None:
    with pytest.raises(ExgsError, match=r"holds SH degree 3, the capture has 4; drop the higher bands \(--sh-degree 3\)"):
        formats.write(tmp_path / "cloud.compressed.ply", random_gaussians(3, 4))


def test_biker_is_the_same_in_both_formats(data_dir: Path) -> None:
    """One capture, exported to two formats by other tools: they agree within the coarser step of each field."""
    ply, spz = (formats.read(data_dir / "scenes" / name) for name in ("biker.compressed.ply", "biker.spz"))
    np.clip(ply.scales, -10, None, out=ply.scales)  # what SPZ can store
    np.clip(ply.sh0, -0.5 / 0.15, 0.5 / 0.15, out=ply.sh0)
    assert_within(ply, spz, means=0.5 / 4096 + 1e-6, scales=0.5 / 16 + 1e-6, opacities=1e-6, sh0=0.5 / 255 / 0.15 + 1e-6, quats=0.003)


def test_guitar(data_dir: Path) -> None:
    cloud = formats.read(data_dir / "scenes/guitar.compressed.ply")
    assert (len(cloud), cloud.sh_degree) == (90854, 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"element vertex 300", b"element vertex 99999999999", "element 'chunk' has 2 rows, expected 390625000"),
        (b"element vertex 300", b"element vertex 512", "claims 512 rows"),
        (b"element vertex 300", b"element vertex 0", "'element vertex' is 0"),
        (b"element chunk 2", b"element chunk 1", "element 'chunk' has 1 rows, expected 2"),
        (b"element chunk 2", b"element chonk 2", "no element 'chunk'"),
        (b"element sh 300", b"element sh 299", "element 'sh' has 299 rows, expected 300"),
        (b"uint packed_scale", b"float packed_scale", "property 'packed_scale' of element 'vertex' is f4, expected u4"),
        (b"float min_x", b"float mean_x", "property 'min_x' of element 'chunk' is missing"),
        (b"float max_g", b"float max_h", "property 'max_g' of element 'chunk' is missing"),
        (b"uchar f_rest_8", b"uchar f_rest_9", "element 'sh' has 9 properties"),
        (b"uchar f_rest_8", b"char f_rest_8", "property 'f_rest_8' of element 'sh' is i1"),
        (b"binary_little_endian", b"ascii", "text form"),
        (b"element vertex", b"element face 0\nproperty list uchar int vertex_indices\nelement vertex", "a list property stands before"),
    ],
)
def test_malformed(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    content = compressed_ply_bytes(random_gaussians(300, 1))
    assert old in content
    path = tmp_path / "bad.compressed.ply"
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_chunk_range_that_is_not_finite(tmp_path: Path) -> None:
    content = compressed_ply_bytes(random_gaussians(300, 0))
    at = content.index(b"end_header\n") + 11
    path = tmp_path / "bad.compressed.ply"
    path.write_bytes(content[:at] + struct.pack("<f", np.inf) + content[at + 4 :])
    with pytest.raises(FileError, match="property 'min_x' of element 'chunk' is inf in row 0"):
        formats.read(path)


def test_truncated(tmp_path: Path) -> None:
    path = tmp_path / "bad.compressed.ply"
    path.write_bytes(compressed_ply_bytes(random_gaussians(300, 1))[:-1])
    with pytest.raises(FileError, match="element 'sh' claims 300 rows"):
        formats.read(path)


@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_headers_end_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(compressed_ply_bytes(random_gaussians(4, 1)))
    end = content.index(b"end_header") + 11
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, end - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path / "fuzz.compressed.ply"
    path.write_bytes(content)
    assert "\n" not in refusal(path)
