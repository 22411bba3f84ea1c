# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import plyfile
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exgs_blender import formats
from exgs_blender.errors import CancelledError, ExgsError, FileError
from exgs_blender.formats import _ply_columns, ply
from exgs_blender.splats import Gaussians

from ..clouds import random_gaussians
from .compare import refusal


def table(cloud: Gaussians) -> dict[str, np.ndarray]:
    """Property name -> column, as a PLY names them."""
    rest = cloud.shN.transpose(0, 2, 1).reshape(len(cloud), -1)
    columns = {name: cloud.means[:, i] for i, name in enumerate("xyz")}
    columns |= {f"f_dc_{i}": cloud.sh0[:, 0, i] for i in range(3)}
    columns |= {f"f_rest_{i}": rest[:, i] for i in range(rest.shape[1])}
    columns |= {"opacity": cloud.opacities}
    columns |= {f"scale_{i}": cloud.scales[:, i] for i in range(3)}
    columns |= {f"rot_{i}": cloud.quats[:, i] for i in range(4)}
    return columns


def write_with_plyfile(path: Path, columns: dict[str, np.ndarray], types: dict[str, str] | None = None, **options: object) -> Path:
    rows = np.empty(len(columns["x"]), [(name, (types or {}).get(name, "f4")) for name in columns])
    for name, column in columns.items():
        rows[name] = column
    before = options.pop("before", [])
    elements = [*before, plyfile.PlyElement.describe(rows, "vertex")]  # type: ignore[misc]
    plyfile.PlyData(elements, **options).write(str(path))
    return path


def assert_equal(a: Gaussians, b: Gaussians) -> None:
    for name, array in a.arrays():
        np.testing.assert_array_equal(array, getattr(b, name), err_msg=name)


@pytest.mark.parametrize("degree", range(5))
def test_written_ply_reads_back_bit_for_bit(tmp_path: Path, degree: int) -> None:
    cloud = random_gaussians(300, degree, seed=degree)
    formats.write(tmp_path / "cloud.ply", cloud)
    assert_equal(cloud, formats.read(tmp_path / "cloud.ply"))
    assert len((tmp_path / "cloud.ply").read_bytes().split(b"end_header\n", 1)[1]) == cloud.ply_bytes + 300 * 12  # and normals


def test_plyfile_reads_what_is_written(tmp_path: Path) -> None:
    cloud = random_gaussians(20, 3)
    formats.write(tmp_path / "cloud.ply", cloud)
    vertex = plyfile.PlyData.read(str(tmp_path / "cloud.ply"))["vertex"]
    for name, column in table(cloud).items():
        np.testing.assert_array_equal(vertex[name], column, err_msg=name)
    assert [p.name for p in vertex.properties] == ply.property_names(3)
    assert not np.any(vertex["nx"])


@pytest.mark.parametrize("options", [{"text": True}, {"byte_order": "<"}, {"byte_order": ">"}], ids=["text", "little", "big"])
@pytest.mark.parametrize("types", [{}, {"x": "f8", "opacity": "f8"}], ids=["float", "double"])
def test_dialects(tmp_path: Path, options: dict[str, object], types: dict[str, str]) -> None:
    cloud = random_gaussians(40, 2)
    columns = table(cloud)
    names = list(columns)
    np.random.default_rng(1).shuffle(names)
    shuffled = {name: columns[name] for name in names} | {"segment": np.arange(40), "nx": np.ones(40)}
    cameras = plyfile.PlyElement.describe(np.zeros(3, [("id", "u1"), ("f", "f8")]), "camera")
    path = write_with_plyfile(
        tmp_path / "odd.ply",
        shuffled,
        {**types, "segment": "u1"},
        before=[cameras],
        comments=["end_header is near", "made by hand"],
        obj_info=["kind splat"],
        **options,
    )
    assert_equal(cloud, formats.read(path))


@pytest.mark.parametrize("ending", [b"\r\n", b"\r"])
@pytest.mark.parametrize("text", [True, False])
def test_line_endings(tmp_path: Path, ending: bytes, text: bool) -> None:
    cloud = random_gaussians(5, 1)
    cloud.means[0, 0] = np.frombuffer(b"\x0a\x0d\x80\x3f", "<f4")[0]  # data that looks like a line ending
    path = write_with_plyfile(tmp_path / "a.ply", table(cloud), text=text)
    head, body = path.read_bytes().split(b"end_header\n", 1)
    head = (head + b"end_header\n").replace(b"\n", ending)
    path.write_bytes(head + (body.replace(b"\n", ending) if text else body))
    assert_equal(cloud, formats.read(path))


def test_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ply, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(_ply_columns, "CHUNK_BYTES", 1000)
    cloud = random_gaussians(101, 1)
    fractions: list[float] = []
    formats.write(tmp_path / "a.ply", cloud)
    again = formats.read(tmp_path / "a.ply", report=lambda stage, fraction: fractions.append(fraction))
    assert_equal(cloud, again)
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    text = write_with_plyfile(tmp_path / "t.ply", table(cloud), text=True)
    assert_equal(cloud, formats.read(text))


def test_reading_in_many_pieces_ends_when_it_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ply_columns, "CHUNK_BYTES", 1000)
    formats.write(tmp_path / "a.ply", random_gaussians(2000, 1))

    def stop(stage: str, fraction: float) -> None:
        if fraction > 0:
            raise CancelledError()

    with pytest.raises(CancelledError):
        formats.read(tmp_path / "a.ply", report=stop)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever thread meets the missing rows, the error is one line about the file."""
    monkeypatch.setattr(_ply_columns, "CHUNK_BYTES", 1000)
    path = tmp_path / "a.ply"
    formats.write(path, random_gaussians(2000, 1))

    def shrink(stage: str, fraction: float) -> None:
        os.truncate(path, 5000)

    with pytest.raises(FileError, match="ends after Gaussian"):
        formats.read(path, report=shrink)


def test_infinite_opacity_is_clipped(tmp_path: Path) -> None:
    cloud = random_gaussians(3, 0)
    cloud.opacities[:2] = np.inf, -np.inf
    formats.write(tmp_path / "a.ply", cloud)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.ply").opacities[:2], [16, -16])


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    def stop(stage: str, fraction: float) -> None:
        if fraction > 0:
            raise ExgsError("cancelled")

    with pytest.raises(ExgsError, match="cancelled"):
        formats.write(tmp_path / "a.ply", random_gaussians(10, 0), report=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"element vertex 8", b"element vertex 999999999999", "element 'vertex' claims 999999999999 rows"),
        (b"element vertex 8", b"element vertex 9", "element 'vertex' claims 9 rows"),
        (b"element vertex 8", b"element vertex 0", "'element vertex' is 0"),
        (b"element vertex 8", b"element vertex -8", "should be 'element NAME COUNT'"),
        (b"element vertex 8", b"element vertex \xc2\xb2", "should be 'element NAME COUNT'"),
        (b"element vertex", b"element splats", "no element 'vertex'"),
        (b"element vertex 8\n", b"", "stands before any 'element'"),
        (b"property float opacity", b"property float alpha", "property 'opacity' of element 'vertex' is missing"),
        (b"property float rot_3", b"property float rot_2", "'rot_2' of element 'vertex' is declared twice"),
        (b"property float f_rest_8", b"property float f_rest_9", "property 'f_rest_8' is missing"),
        (b"property float f_rest_8", b"property float rest_8", "8 'f_rest' properties fit no SH degree"),
        (b"property float nx", b"property half nx", "no property with a known type"),
        (b"binary_little_endian", b"binary_middle_endian", "no known format"),
        (b"format binary_little_endian 1.0\n", b"", "no 'format' line"),
        (b"format", b"framat", "is not PLY"),
        (b"end_header", b"end_haeder", "no 'end_header'"),
    ],
)
def test_malformed_header(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = tmp_path / "bad.ply"
    formats.write(path, random_gaussians(8, 1))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "claims 4 rows|ends after Gaussian 3"),
        (lambda text: text.replace("end_header\n", "end_header\n1 "), "should hold 14 numbers"),
        (lambda text: text.replace("end_header\n", "end_header\nx "), "should hold 14 numbers"),
        (lambda text: text.replace("vertex 4", "vertex 4000000000"), "claims 4000000000 rows"),
    ],
)
def test_malformed_text(tmp_path: Path, edit: object, message: str) -> None:
    path = write_with_plyfile(tmp_path / "bad.ply", table(random_gaussians(4, 0)), text=True)
    path.write_text(edit(path.read_text()))  # type: ignore[operator]
    with pytest.raises(FileError, match=message):
        formats.read(path)


GOOD = ["one-gaussian-ascii", "one-gaussian-binary-le", "reordered-properties", "three-gaussian-binary-le"]
GOOD += [f"degree-{degree}-sh" for degree in range(1, 5)]
BAD = {
    "duplicate-sh-index": "'f_rest_00' is no SH coefficient",
    "empty-vertex": "'element vertex' is 0",
    "invalid-sh-name": "'f_rest_1x' is no SH coefficient",
    "list-property": "property 'opacity' is a list",
    "mesh-not-gaussian": "property 'f_dc_0' of element 'vertex' is missing",
    "missing-opacity": "property 'opacity' of element 'vertex' is missing",
    "nan-opacity-binary-le": "value in 'opacities' that is not finite",
    "non-contiguous-sh": "property 'f_rest_2' is missing",
    "out-of-range-double": "value in 'means' that is not finite",
    "overflow-scale": "log scale of 100 in 'scale'",
    "sh-count-not-rgb": "2 'f_rest' properties fit no SH degree",
    "sh-invalid-degree": "6 'f_rest' properties fit no SH degree",
    "truncated-binary-le": "claims 1 rows",
}


def test_every_fixture_is_judged(data_dir: Path) -> None:
    assert {path.stem for path in (data_dir / "fixtures/ply").glob("*.ply")} == {*GOOD, *BAD}


@pytest.mark.parametrize("name", BAD)
def test_malformed_fixture(data_dir: Path, name: str) -> None:
    path = data_dir / "fixtures/ply" / f"{name}.ply"
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert BAD[name] in str(caught.value)
    assert str(path) in str(caught.value)


def test_good_fixtures(data_dir: Path) -> None:
    folder = data_dir / "fixtures/ply"
    one = formats.read(folder / "one-gaussian-ascii.ply")
    np.testing.assert_array_equal(one.means, [[1, 2, 3]])
    np.testing.assert_allclose(np.exp(one.scales), [[1, 2, 0.5]], rtol=1e-6)  # the golden file's decoded values
    np.testing.assert_allclose(one.sh0[0], [[0.1, 0.2, 0.3]], rtol=1e-6)
    assert one.opacities[0] == 0
    assert_equal(one, formats.read(folder / "one-gaussian-binary-le.ply"))
    assert_equal(formats.read(folder / "degree-1-sh.ply"), formats.read(folder / "reordered-properties.ply"))
    for degree in range(1, 5):
        assert formats.read(folder / f"degree-{degree}-sh.ply").sh_degree == degree
    assert len(formats.read(folder / "three-gaussian-binary-le.ply")) == 3


@pytest.mark.parametrize(
    "name", ["inria/train-1000", "gsplat-rs/minimal_ascii", "gsplat-rs/minimal_binary", "metalsplatter/test-splat.3-points-from-train"]
)
def test_agrees_with_plyfile(data_dir: Path, name: str) -> None:
    path = data_dir / "fixtures" / f"{name}.ply"
    vertex = plyfile.PlyData.read(str(path))["vertex"]
    for prop, column in table(formats.read(path)).items():
        np.testing.assert_array_equal(vertex[prop], column, err_msg=prop)


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_headers_end_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    """Any change of the header's bytes reads to a valid cloud or ends in an ExgsError; nothing else, no huge allocation."""
    path = tmp_path / "fuzz.ply"
    formats.write(path, random_gaussians(4, 1))
    content = bytearray(path.read_bytes())
    end = content.index(b"end_header") + 11
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, end - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    assert "\n" not in refusal(path)


def _with_lists(cloud: Gaussians, faces_first: bool, text: bool) -> bytes:
    """A splat PLY with a list among the vertex properties and a face element before or after, written by plyfile."""
    import plyfile

    names = ply.property_names(cloud.sh_degree)
    rows = np.zeros(len(cloud), [*((name, "f4") for name in names), ("tags", object)])
    rest = cloud.shN.transpose(0, 2, 1).reshape(len(cloud), -1)
    values = [cloud.means, np.zeros_like(cloud.means), cloud.sh0[:, 0], rest, cloud.opacities[:, None], cloud.scales, cloud.quats]
    for name, column in zip(names, np.concatenate(values, axis=1).T, strict=True):
        rows[name] = column
    rows["tags"] = [np.arange(i % 3, dtype=np.int32) for i in range(len(cloud))]
    faces = np.array([([0, 1, 2],), ([0, 1, 2, 3],)], [("vertex_indices", object)])
    elements = [
        plyfile.PlyElement.describe(faces, "face", val_types={"vertex_indices": "i4"}, len_types={"vertex_indices": "u1"}),
        plyfile.PlyElement.describe(rows, "vertex", val_types={"tags": "i4"}, len_types={"tags": "u1"}),
    ]
    stream = io.BytesIO()
    plyfile.PlyData(elements if faces_first else elements[::-1], text=text).write(stream)
    return stream.getvalue()


@pytest.mark.parametrize("faces_first", [True, False])
@pytest.mark.parametrize("text", [True, False])
def test_lists_before_and_among_the_splats(tmp_path: Path, faces_first: bool, text: bool) -> None:
    cloud = random_gaussians(9, 1)
    path = tmp_path / "lists.ply"
    path.write_bytes(_with_lists(cloud, faces_first, text))
    again = formats.read(path)
    for (name, expected), (_, found) in zip(cloud.arrays(), again.arrays(), strict=True):
        assert np.allclose(found, expected, rtol=1e-6), name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"element face 2", b"element face 999999999"),
        (b"element vertex 9", b"element vertex 999999999"),
        (b"element vertex 9", b"element vertex 10"),
    ],
)
def test_lists_with_false_claims(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "lists.ply"
    content = _with_lists(random_gaussians(9, 1), faces_first=True, text=False)
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(FileError, match=r"claims|do not agree"):
        formats.read(path)


def test_list_of_absurd_length(tmp_path: Path) -> None:
    content = _with_lists(random_gaussians(9, 1), faces_first=True, text=False)
    content = content.replace(b"property list uchar int vertex_indices", b"property list uint int vertex_indices")
    path = tmp_path / "lists.ply"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"do not agree|claims"):
        formats.read(path)
