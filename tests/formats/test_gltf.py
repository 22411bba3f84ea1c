# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exgs_blender import formats
from exgs_blender.errors import ExgsError, FileError
from exgs_blender.splats import Gaussians, concatenate
from exgs_blender.splats.srgb import srgb_from_linear
from exgs_blender.splats.transforms import flipped, transformed

from ..clouds import random_gaussians
from .compare import assert_within

EXACT = {"means": 0, "quats": 1e-6, "scales": 2e-6, "opacities": 1e-6, "sh0": 0, "shN": 0}
X = "KHR_gaussian_splatting"
Edit = Callable[[dict[str, Any]], object]


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """JSON and binary chunk of a .glb."""
    data = path.read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def glb(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def edited(tmp_path: Path, cloud: Gaussians, edit: Edit) -> Path:
    formats.write(tmp_path / "cloud.glb", cloud)
    document, binary = parts(tmp_path / "cloud.glb")
    edit(document)
    (tmp_path / "edited.glb").write_bytes(glb(document, binary))
    return tmp_path / "edited.glb"


@pytest.mark.parametrize("degree", range(4))
def test_round_trip(tmp_path: Path, degree: int) -> None:
    cloud = random_gaussians(300, degree)
    formats.write(tmp_path / "cloud.glb", cloud)
    assert formats.format_of(tmp_path / "cloud.glb").name == "gltf"
    assert_within(cloud, formats.read(tmp_path / "cloud.glb"), **EXACT)


def test_written_file_is_what_the_extension_says(tmp_path: Path) -> None:
    cloud = random_gaussians(7, 1)
    formats.write(tmp_path / "cloud.glb", cloud)
    document, binary = parts(tmp_path / "cloud.glb")
    primitive = document["meshes"][0]["primitives"][0]
    assert document["extensionsUsed"] == [X]
    assert (primitive["mode"], primitive["extensions"][X]["kernel"], primitive["extensions"][X]["colorSpace"]) == (
        0,
        "ellipse",
        "srgb_rec709_display",
    )

    def values(name: str, code: str = "<f4") -> np.ndarray:
        view = document["bufferViews"][document["accessors"][primitive["attributes"][name]]["bufferView"]]
        return np.frombuffer(binary, code, view["byteLength"] // np.dtype(code).itemsize, view["byteOffset"]).reshape(7, -1)

    np.testing.assert_array_equal(values("POSITION"), cloud.means * [-1, -1, 1])
    np.testing.assert_allclose(values(f"{X}:SCALE"), np.exp(cloud.scales), rtol=1e-6)
    np.testing.assert_allclose(values(f"{X}:OPACITY")[:, 0], 1 / (1 + np.exp(-cloud.opacities)), rtol=1e-6)
    w, x, y, z = (cloud.quats / np.linalg.norm(cloud.quats, axis=1, keepdims=True)).T
    np.testing.assert_allclose(values(f"{X}:ROTATION"), np.stack([-x, -y, z, w], axis=1), atol=1e-6)
    np.testing.assert_array_equal(values(f"{X}:SH_DEGREE_0_COEF_0"), cloud.sh0[:, 0])
    for index, sign in enumerate((-1, 1, -1)):  # (-y, z, -x) under half a turn about z
        np.testing.assert_array_equal(values(f"{X}:SH_DEGREE_1_COEF_{index}"), cloud.shN[:, index] * sign)
    accessor = document["accessors"][0]
    np.testing.assert_array_equal(accessor["min"], values("POSITION").min(axis=0).astype(float))
    assert values("COLOR_0", "u1").shape == (7, 4)


def test_nodes_place_their_meshes(tmp_path: Path) -> None:
    """Two nodes with the same mesh, one under a parent: both appear, turned, scaled and moved with their SH."""
    cloud = random_gaussians(40, 3)
    matrix = [0, 2, 0, 0, -2, 0, 0, 0, 0, 0, 2, 0, 5, 0, 0, 1]  # column by column: a quarter turn about z, twice the size

    def place(document: dict[str, Any]) -> None:
        half = float(np.sqrt(0.5))
        document["nodes"] = [
            {"mesh": 0, "matrix": matrix},
            {"children": [2], "rotation": [half, 0, 0, half]},
            {"mesh": 0, "translation": [1, 2, 3], "scale": [1, 3, 1]},
        ]
        document["scenes"] = [{"nodes": [0, 1]}]

    found = formats.read(edited(tmp_path, cloud, place))
    first = np.array(matrix, float).reshape(4, 4).T
    second = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    second = second @ np.array([[1, 0, 0, 1], [0, 3, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1.0]])
    in_gltf = flipped(cloud, (-1, -1, 1))
    expected = flipped(concatenate([transformed(in_gltf, first), transformed(in_gltf, second)]), (-1, -1, 1))
    assert_within(expected, found, **dict.fromkeys(EXACT, 1e-4))


@pytest.mark.parametrize(("count", "copies", "message"), [(1, 2000, "more than 1024 primitives"), (1000, 300, "too many for its buffers")])
def test_one_mesh_placed_without_end(tmp_path: Path, count: int, copies: int, message: str) -> None:
    """A small file whose nodes would fill the memory."""

    def place(document: dict[str, Any]) -> None:
        document["nodes"] = [{"mesh": 0}] * copies
        document["scenes"] = [{"nodes": list(range(copies))}]

    with pytest.raises(FileError, match=message):
        formats.read(edited(tmp_path, random_gaussians(count, 3), place))


def test_strided_and_external_buffers(tmp_path: Path) -> None:
    cloud = random_gaussians(20, 0)
    formats.write(tmp_path / "cloud.glb", cloud)
    document, binary = parts(tmp_path / "cloud.glb")
    view = document["bufferViews"][0]
    rows = np.zeros((20, 5), "<f4")
    rows[:, 1:4] = np.frombuffer(binary, "<f4", 60, view["byteOffset"]).reshape(20, 3)
    document["bufferViews"][0] = {"buffer": 0, "byteOffset": len(binary), "byteLength": rows.nbytes, "byteStride": 20}
    document["accessors"][0]["byteOffset"] = 4
    binary += rows.tobytes()
    document["buffers"] = [{"byteLength": len(binary), "uri": "my%20data.bin"}]
    (tmp_path / "my data.bin").write_bytes(binary)
    (tmp_path / "cloud.gltf").write_text(json.dumps(document))
    assert_within(cloud, formats.read(tmp_path / "cloud.gltf"), **EXACT)
    document["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    (tmp_path / "inline.json").write_text(json.dumps(document))
    assert formats.format_of(tmp_path / "inline.json").name == "gltf"
    assert_within(cloud, formats.read(tmp_path / "inline.json"), **EXACT)


def test_linear_colours_become_encoded_ones(tmp_path: Path) -> None:
    cloud = random_gaussians(50, 1)
    cloud.sh0[:] = np.clip(cloud.sh0, -1.5, 1.5)
    path = edited(tmp_path, cloud, lambda d: d["meshes"][0]["primitives"][0]["extensions"][X].update(colorSpace="lin_rec709_display"))
    found = formats.read(path)
    c0 = 0.28209479
    np.testing.assert_allclose(0.5 + c0 * found.sh0, srgb_from_linear(0.5 + c0 * cloud.sh0), atol=1e-5)
    turned = srgb_from_linear(0.5 + c0 * cloud.sh0 + 1e-3 * cloud.shN[:, :1])  # what a small view-dependent part adds
    np.testing.assert_allclose(found.shN[:, :1] * 1e-3, turned - srgb_from_linear(0.5 + c0 * cloud.sh0), atol=2e-6)


def test_conformance_matrix(data_dir: Path) -> None:
    """Every component type of a draft of the extension (logarithmic scales), one node each."""
    cloud = formats.read(data_dir / "fixtures/khr/khr_conformance_matrix.glb")
    assert (len(cloud), cloud.sh_degree) == (15, 3)
    np.testing.assert_array_equal(cloud.means, np.tile([[-1, -2, 3]], (15, 1)))
    scales = np.tile([0, 0.5, -0.5], (15, 1))
    scales[3:8] = [[0.2, -0.1, 0.7], [1, -2, 3], [1, 0, -1], [2, -3, 4], [1, 0, -1]]
    np.testing.assert_allclose(cloud.scales, scales, atol=1e-6)
    opacity = np.full(15, 0.25)
    opacity[8:11] = [0.75, 64 / 255, 16384 / 65535]
    np.testing.assert_allclose(1 / (1 + np.exp(-cloud.opacities)), opacity, atol=1e-6)
    np.testing.assert_allclose(np.abs(cloud.quats), np.tile([0, 1, 0, 0], (15, 1)), atol=1e-6)
    same = formats.read(data_dir / "fixtures/khr/khr_conformance_matrix.gltf")
    for name, array in cloud.arrays():
        np.testing.assert_array_equal(getattr(same, name), array, err_msg=name)


def test_other_kernels_are_refused(data_dir: Path) -> None:
    with pytest.raises(FileError, match="'kernel' is 'customShape', expected 'ellipse'"):
        formats.read(data_dir / "fixtures/khr/khr_extensible_fallback.gltf")


def primitive(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["meshes"][0]["primitives"][0]
    return found


MALFORMED: list[tuple[Edit, str]] = [
    (lambda d: d["asset"].update(version="1.0"), "'asset.version' is '1.0'"),
    (lambda d: primitive(d).pop("extensions"), "no mesh primitive has the extension"),
    (lambda d: primitive(d).pop("attributes"), "the first one missing is"),
    (lambda d: primitive(d)["attributes"].pop("POSITION"), "attribute 'POSITION' is missing"),
    (lambda d: primitive(d)["attributes"].pop(f"{X}:OPACITY"), f"attribute '{X}:OPACITY' is missing"),
    (lambda d: primitive(d)["attributes"].pop(f"{X}:SH_DEGREE_1_COEF_1"), "SH attributes are no whole degrees"),
    (lambda d: primitive(d)["attributes"].update({f"{X}:SH_DEGREE_4_COEF_0": 3}), "SH attributes are no whole degrees"),
    (lambda d: primitive(d)["attributes"].update(POSITION=99), "'accessors' has no entry 99"),
    (lambda d: primitive(d)["attributes"].update(POSITION=True), "'accessors' has no entry True"),
    (lambda d: primitive(d)["extensions"][X].update(extensions={f"{X}_compression_spz_2": {}}), "is packed with"),
    (lambda d: d["accessors"][0].update(count=10**15), "attribute 'POSITION' claims 1000000000000000 values"),
    (lambda d: d["accessors"][0].update(count=8), "attribute 'POSITION' claims 8 values"),
    (lambda d: d["accessors"][2].update(count=3), f"attribute '{X}:ROTATION' has 3 values, expected 7"),
    (lambda d: d["accessors"][0].update(count=0), "'accessor of 'POSITION': count' is 0"),
    (lambda d: d["accessors"][0].update(componentType=5124), "of component type 5124"),
    (lambda d: d["accessors"][0].update(componentType=[]), "of component type []"),
    (lambda d: d["accessors"][0].update(type="MAT4"), "'MAT4' of component type 5126"),
    (lambda d: d["accessors"][0].update(sparse={}), "is sparse"),
    (lambda d: d["accessors"][0].update(byteOffset=-4), "'accessor.byteOffset' is -4"),
    (lambda d: d["bufferViews"][0].update(byteOffset=10**12), "attribute 'POSITION' claims 7 values"),
    (lambda d: d["bufferViews"][0].update(byteStride=4), "'bufferView.byteStride' is 4"),
    (lambda d: d["buffers"][0].update(byteLength=10**9), "'buffers[0].byteLength' is 1000000000"),
    (lambda d: d["buffers"][0].update(uri="../secret.bin"), "expected a plain file name"),
    (lambda d: d["buffers"][0].update(uri="%2e%2e%2fsecret.bin"), "expected a plain file name"),
    (lambda d: d["buffers"][0].update(uri="/etc/passwd"), "expected a plain file name"),
    (lambda d: d["buffers"][0].update(uri="https://example.org/a.bin"), "expected a plain file name"),
    (lambda d: d["buffers"][0].update(uri="gone.bin"), "'gone.bin' cannot be read"),
    (lambda d: d["buffers"][0].update(uri="data:;base64,***"), "is no base64 data"),
    (lambda d: d["nodes"][0].update(children=[0]), "is no tree"),
    (lambda d: d["nodes"][0].update(matrix=[1, 2, 3]), "'node.matrix' is [1, 2, 3]"),
    (lambda d: d["nodes"][0].update(matrix=[0] * 16), "a node's matrix cannot be used"),
    (lambda d: d["nodes"][0].update(scale=[1, 0, 1]), "a node's matrix cannot be used"),
    (lambda d: d["nodes"][0].update(rotation=[0, 0, 0, float("nan")]), "'node.rotation' is"),
    (lambda d: d["nodes"][0].update(mesh=7), "'meshes' has no entry 7"),
    (lambda d: d.update(scene=4), "'scenes' has no entry 4"),
    (lambda d: d.update(scenes=[{"nodes": 5}]), "'scene.nodes' is 5"),
    (lambda d: d.update(meshes=None), "'meshes' has no entry 0"),
]


@pytest.mark.parametrize(("edit", "message"), MALFORMED, ids=[message for _, message in MALFORMED])
def test_malformed(tmp_path: Path, edit: Edit, message: str) -> None:
    path = edited(tmp_path, random_gaussians(7, 1), edit)
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:15], "header has 15 bytes"),
        (lambda data: data[:-5], "field 'length' is"),
        (lambda data: data[:4] + b"\1" + data[5:], "'version' is 1, expected 2"),
        (lambda data: data[:12] + b"\xff\xff\xff\x7f" + data[16:], "first chunk has kind"),
        (lambda data: data[:20] + b"[" + data[21:], "its JSON is not JSON"),
    ],
)
def test_malformed_container(tmp_path: Path, change: Callable[[bytes], bytes], message: str) -> None:
    formats.write(tmp_path / "a.glb", random_gaussians(7, 0))
    (tmp_path / "a.glb").write_bytes(change((tmp_path / "a.glb").read_bytes()))
    with pytest.raises(FileError) as caught:
        formats.read(tmp_path / "a.glb")
    assert message in str(caught.value)


def test_what_glb_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ExgsError, match="holds SH degree 3, the capture has 4"):
        formats.write(tmp_path / "a.glb", random_gaussians(3, 4))
    assert list(tmp_path.iterdir()) == []
