# SPDX-License-Identifier: GPL-3.0-or-later
"""The same captures through other people's tools, both ways. Each is skipped, with the reason, where it is not installed.

PlayCanvas' splat-transform and Khronos' glTF validator come from npm, gsply and OpenUSD from PyPI (the extra "test").
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exgs_blender import formats
from exgs_blender.splats import Gaussians
from exgs_blender.splats.activation import unit_quats
from exgs_blender.splats.transforms import flipped

from ..clouds import random_gaussians
from ..conftest import ROOT
from .compare import assert_within, in_order_of

NODE = ROOT / ".venv-node/node_modules"
TRANSFORM = shutil.which("splat-transform") or (str(NODE / ".bin/splat-transform") if (NODE / ".bin/splat-transform").exists() else None)
needs_transform = pytest.mark.skipif(TRANSFORM is None, reason="no splat-transform (npm install @playcanvas/splat-transform)")
EXACT = {"means": 1e-5, "scales": 1e-5, "opacities": 1e-5, "sh0": 1e-5, "shN": 1e-5, "quats": 1e-5}
BYTES = EXACT | {"quats": 0.01, "opacities": 1e-4}


def transform(source: Path, target: Path, *options: str) -> Path:
    assert TRANSFORM is not None
    done = subprocess.run([TRANSFORM, "-w", "-g", "cpu", *options, source, target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def small_cloud(degree: int = 3, count: int = 400) -> Gaussians:
    """Values that every format can hold."""
    cloud = random_gaussians(count, degree)
    np.clip(cloud.sh0, -1.7, 1.7, out=cloud.sh0)
    np.clip(cloud.shN, -0.9, 0.9, out=cloud.shN)
    cloud.quats[:] = unit_quats(cloud.quats)
    return cloud


# splat-transform


@needs_transform
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cloud.compressed.ply", []),
        ("cloud.sog", []),
        ("meta.json", []),
        ("v3.spz", ["--spz-version", "3"]),
        ("v4.spz", ["--spz-version", "4"]),
    ],
)
@pytest.mark.parametrize("degree", [0, 3])
def test_we_read_what_splat_transform_writes(tmp_path: Path, name: str, options: list[str], degree: int) -> None:
    """Our PLY -> its packed file -> read by us, and read by it and handed over as PLY: the same values."""
    formats.write(tmp_path / "ours.ply", small_cloud(degree))
    packed = transform(tmp_path / "ours.ply", tmp_path / name, *options)
    plain = transform(packed, tmp_path / "plain.ply")
    assert_within(formats.read(plain), formats.read(packed), **EXACT)


@needs_transform
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_we_read_the_glb_that_splat_transform_writes(tmp_path: Path, degree: int) -> None:
    """It does not read .glb, but what it wrote must be the PLY's values, axes and SH turned."""
    cloud = small_cloud(degree)
    formats.write(tmp_path / "ours.ply", cloud)
    theirs = formats.read(transform(tmp_path / "ours.ply", tmp_path / "cloud.glb"))
    assert_within(cloud, same_rotations(theirs), **EXACT)


def same_rotations(cloud: Gaussians) -> Gaussians:
    """It turns the Gaussians where we turn the axes: half a turn about an own axis more, which changes no ellipsoid."""
    w, x, y, z = cloud.quats.T
    return replace(cloud, quats=np.stack([-z, y, -x, w], axis=1))


@needs_transform
def test_we_write_the_glb_that_splat_transform_writes(tmp_path: Path) -> None:
    cloud = small_cloud()
    formats.write(tmp_path / "ours.ply", cloud)
    formats.write(tmp_path / "ours.glb", cloud)
    theirs = transform(tmp_path / "ours.ply", tmp_path / "theirs.glb")
    assert formats.format_of(theirs).name == "gltf"
    assert glb_values(tmp_path / "ours.glb").keys() == glb_values(theirs).keys()
    for name, values in glb_values(theirs).items():
        found = glb_values(tmp_path / "ours.glb")[name]
        if not name.endswith("ROTATION"):  # the same ellipsoids by other quaternions, see ``same_rotations``
            np.testing.assert_allclose(found, values, atol=1.01 if name == "COLOR_0" else 1e-5, err_msg=name)


def glb_values(path: Path) -> dict[str, np.ndarray]:
    from exgs_blender.formats._gltf_container import WIDTHS, open_document

    document = open_document(path)
    attributes = document.json["meshes"][0]["primitives"][0]["attributes"]
    kinds = {name: document.json["accessors"][index]["type"] for name, index in attributes.items()}
    return {name: document.accessor(index, name, WIDTHS[kinds[name]]).astype(np.float64) for name, index in attributes.items()}


@needs_transform
@pytest.mark.parametrize("level", [0, 1])
def test_we_read_its_levels_of_detail(tmp_path: Path, level: int) -> None:
    fine, coarse = small_cloud(1, 600), small_cloud(1, 200)
    formats.write(tmp_path / "fine.ply", fine)
    formats.write(tmp_path / "coarse.ply", coarse)
    assert TRANSFORM is not None
    inputs = [str(tmp_path / "fine.ply"), "-l", "0", str(tmp_path / "coarse.ply"), "-l", "1"]
    done = subprocess.run(
        [TRANSFORM, "-w", "-g", "cpu", *inputs, str(tmp_path / "lod/lod-meta.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = formats.read(tmp_path / "lod", level=level)
    expected = (fine, coarse)[level]
    lossy = {"scales": 0.2, "opacities": 0.005, "sh0": np.inf, "shN": np.inf, "quats": 0.02}  # few Gaussians: its colours are coarse
    assert_within(in_order_of(expected, found), found, means=1e-4, **lossy)


@needs_transform
@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.sog", "out/meta.json", "v2.spz", "v3.spz", "v4.spz", "a.splat"])
def test_splat_transform_reads_what_we_write(tmp_path: Path, name: str) -> None:
    options = {"version": int(name[1])} if name.endswith(".spz") else {}
    formats.write(tmp_path / name, small_cloud(0 if name.endswith(".splat") else 3), **options)
    theirs = formats.read(transform(tmp_path / name, tmp_path / "plain.ply"))
    assert_within(theirs, formats.read(tmp_path / name), **BYTES if name.endswith(".splat") else EXACT)


@needs_transform
@pytest.mark.parametrize("name", ["minimal.ksplat", "minimal.splat", "minimal-v2.spz", "minimal-v3.spz", "minimal-v4.spz"])
def test_both_read_its_fixtures_alike(tmp_path: Path, data_dir: Path, name: str) -> None:
    source = data_dir / "fixtures/splat-transform" / name
    assert_within(formats.read(transform(source, tmp_path / "plain.ply")), formats.read(source), **BYTES)


# gsply


def gsply_cloud(data: object) -> Gaussians:
    fields = {name: np.asarray(getattr(data, name)) for name in ("means", "quats", "scales", "opacities", "sh0")}
    shN = getattr(data, "shN", None)
    count = len(fields["means"])
    rest = np.asarray(shN).reshape(count, -1, 3) if shN is not None and np.size(shN) else np.zeros((count, 0, 3))
    return Gaussians(**fields | {"sh0": fields["sh0"].reshape(-1, 1, 3), "shN": rest})


@pytest.mark.parametrize("degree", [0, 3])
def test_gsply_ply(tmp_path: Path, degree: int) -> None:
    gsply = pytest.importorskip("gsply", reason="gsply is not installed (pip install gsply)")
    cloud = small_cloud(degree)
    formats.write(tmp_path / "ours.ply", cloud)
    assert_within(cloud, gsply_cloud(gsply.plyread(tmp_path / "ours.ply")), **EXACT)
    shN = cloud.shN if degree else None
    gsply.plywrite(tmp_path / "theirs.ply", cloud.means, cloud.scales, cloud.quats, cloud.opacities, cloud.sh0[:, 0], shN)
    assert_within(cloud, formats.read(tmp_path / "theirs.ply"), **EXACT)


@pytest.mark.parametrize("degree", [0, 3])
def test_gsply_compressed_ply(tmp_path: Path, degree: int) -> None:
    gsply = pytest.importorskip("gsply", reason="gsply is not installed (pip install gsply)")
    cloud = small_cloud(degree)
    formats.write(tmp_path / "ours.compressed.ply", cloud)
    ours = formats.read(tmp_path / "ours.compressed.ply")
    assert_within(ours, gsply_cloud(gsply.plyread(tmp_path / "ours.compressed.ply")), **EXACT | {"shN": 0.017})
    shN = cloud.shN if degree else None
    gsply.plywrite(tmp_path / "t.ply", cloud.means, cloud.scales, cloud.quats, cloud.opacities, cloud.sh0[:, 0], shN, compressed=True)
    theirs = formats.read(tmp_path / "t.compressed.ply")
    again = gsply_cloud(gsply.plyread(tmp_path / "t.compressed.ply"))
    assert_within(again, theirs, **EXACT | {"shN": 0.017})  # it takes the lower end of a byte's step of SH, the format the middle


@pytest.mark.parametrize("version", [2, 3, 4])
def test_gsply_spz(tmp_path: Path, version: int) -> None:
    gsply = pytest.importorskip("gsply", reason="gsply is not installed (pip install gsply)")
    pytest.importorskip("isal", reason="gsply's SPZ needs isal (pip install gsply[spz])")
    cloud = small_cloud(3)
    formats.write(tmp_path / "ours.spz", cloud, version=version)
    ours = formats.read(tmp_path / "ours.spz")
    data = gsply.read_spz(tmp_path / "ours.spz")  # in the file's axes
    assert_within(ours, flipped(gsply_cloud(data), (1, -1, -1)), **BYTES)
    if version > 2:
        gsply.write_spz(tmp_path / "theirs.spz", data, version=version)
        again = formats.read(tmp_path / "theirs.spz")
        assert_within(flipped(gsply_cloud(gsply.read_spz(tmp_path / "theirs.spz")), (1, -1, -1)), again, **BYTES)


# Khronos' validator


@pytest.fixture(scope="module")
def gltf_validator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A script that prints the validator's report on a file."""
    if shutil.which("node") is None or not (NODE / "gltf-validator").is_dir():
        pytest.skip("no glTF validator (npm install --prefix .venv-node gltf-validator)")
    script = tmp_path_factory.mktemp("validator") / "validate.cjs"
    script.write_text(
        f"const v = require({json.dumps(str(NODE / 'gltf-validator'))}); const fs = require('fs');\n"
        "v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2]))).then(r => console.log(JSON.stringify(r)));\n"
    )
    return script


@pytest.mark.parametrize("degree", [0, 3])
def test_gltf_validator_finds_no_error(tmp_path: Path, gltf_validator: Path, degree: int) -> None:
    formats.write(tmp_path / "cloud.glb", small_cloud(degree))
    done = subprocess.run(["node", gltf_validator, tmp_path / "cloud.glb"], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    # It is older than the extension, and says of each attribute of it that its name is none that it knows.
    unknown = "/meshes/0/primitives/0/attributes/KHR_gaussian_splatting:"
    errors = [m for m in report["issues"]["messages"] if m["severity"] == 0]
    assert [m for m in errors if (m["code"], m["pointer"][: len(unknown)]) != ("MESH_PRIMITIVE_INVALID_ATTRIBUTE", unknown)] == []
    assert report["info"]["totalVertexCount"] == 400


def test_gltf_validator_finds_errors(tmp_path: Path, gltf_validator: Path) -> None:
    """The test above can fail."""
    formats.write(tmp_path / "cloud.glb", small_cloud(0))
    content = (tmp_path / "cloud.glb").read_bytes().replace(b'"count":400', b'"count":999', 1)
    (tmp_path / "cloud.glb").write_bytes(content)
    done = subprocess.run(["node", gltf_validator, tmp_path / "cloud.glb"], capture_output=True, text=True, check=True)
    codes = {message["code"] for message in json.loads(done.stdout)["issues"]["messages"]}
    assert "ACCESSOR_TOO_LONG" in codes


# OpenUSD (its schema's own class reads ours in test_usd.py)


def test_openusd_finds_nothing_to_complain(tmp_path: Path) -> None:
    """All validators that OpenUSD brings; they do complain about a stage without units."""
    validation = pytest.importorskip("pxr.UsdValidation", reason="OpenUSD is not in this Python (pip install usd-core)")
    from pxr import Usd

    registry = validation.ValidationRegistry()
    context = validation.ValidationContext(registry.GetOrLoadAllValidators())
    formats.write(tmp_path / "cloud.usdc", small_cloud())
    assert [error.GetMessage() for error in context.Validate(Usd.Stage.Open(str(tmp_path / "cloud.usdc")))] == []
    (tmp_path / "bad.usda").write_text('#usda 1.0\ndef Mesh "M" {}\n')
    assert context.Validate(Usd.Stage.Open(str(tmp_path / "bad.usda")))


def test_we_read_what_openusd_writes(tmp_path: Path) -> None:
    """A stage made with the schema's class, full of what its author would set."""
    vol = pytest.importorskip("pxr.UsdVol", reason="OpenUSD is not in this Python (pip install usd-core)")
    if not hasattr(vol, "ParticleField3DGaussianSplat"):
        pytest.skip("this OpenUSD is older than the schema (26.03)")
    from pxr import Usd, UsdGeom, Vt

    cloud = small_cloud(2)
    stage = Usd.Stage.CreateNew(str(tmp_path / "theirs.usda"))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    prim = vol.ParticleField3DGaussianSplat.Define(stage, "/World/Splats").GetPrim()
    w, x, y, z = cloud.quats.T
    sh = np.concatenate([cloud.sh0, cloud.shN * np.array([-1, -1, 1, -1, 1, 1, -1, 1])[:, None]], axis=1).astype(np.float32)
    prim.GetAttribute("positions").Set(Vt.Vec3fArray.FromNumpy(cloud.means * np.array([1, -1, -1], np.float32)))
    prim.GetAttribute("orientations").Set(Vt.QuatfArray.FromNumpy(np.stack([x, -y, -z, w], axis=1)))
    prim.GetAttribute("scales").Set(Vt.Vec3fArray.FromNumpy(np.exp(cloud.scales)))
    prim.GetAttribute("opacities").Set(Vt.FloatArray.FromNumpy((1 / (1 + np.exp(-cloud.opacities))).astype(np.float32)))
    prim.GetAttribute("radiance:sphericalHarmonicsDegree").Set(2)
    prim.GetAttribute("radiance:sphericalHarmonicsCoefficients").Set(Vt.Vec3fArray.FromNumpy(sh.reshape(-1, 3)))
    stage.Save()
    assert_within(cloud, formats.read(tmp_path / "theirs.usda"), **EXACT)
