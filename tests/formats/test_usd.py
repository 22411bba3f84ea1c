# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from exgs_blender import formats
from exgs_blender.errors import FileError, MissingDependencyError
from exgs_blender.formats import usd
from exgs_blender.splats import Gaussians
from exgs_blender.splats.transforms import flipped, transformed

from ..clouds import random_gaussians
from .compare import assert_within

try:
    from pxr import Usd, UsdVol
except ImportError:
    Usd = UsdVol = None
needs_usd = pytest.mark.skipif(Usd is None, reason="OpenUSD is not in this Python (pip install usd-core)")
EXACT = {"means": 0, "quats": 1e-6, "scales": 2e-6, "opacities": 1e-6, "sh0": 0, "shN": 0}
ONE = """#usda 1.0
(
    metersPerUnit = {metres}
    upAxis = "{up}"
)
def Xform "Root"
{{
    double3 xformOp:translate = (10, 0, 0)
    uniform token[] xformOpOrder = ["xformOp:translate"]
    def ParticleField3DGaussianSplat "S"
    {{
        point3f[] positions = [(1, 2, 3)]
        float3[] scales = [(1, 2, 0.5)]
        quatf[] orientations = [(0.5, 0.5, 0.5, 0.5)]
        float[] opacities = [0.5]
        uniform int radiance:sphericalHarmonicsDegree = 1
        float3[] radiance:sphericalHarmonicsCoefficients = [(1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)]
    }}
}}
"""


@needs_usd
@pytest.mark.parametrize("suffix", [".usdc", ".usda", ".usd"])
@pytest.mark.parametrize("degree", [0, 3, 4])
def test_round_trip(tmp_path: Path, suffix: str, degree: int) -> None:
    cloud = random_gaussians(60, degree)
    path = tmp_path / f"cloud{suffix}"
    formats.write(path, cloud)
    assert formats.format_of(path).name == "usd"
    assert_within(cloud, formats.read(path), **EXACT)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@needs_usd
def test_package(tmp_path: Path) -> None:
    from pxr import Sdf, UsdUtils

    cloud = random_gaussians(20, 1)
    formats.write(tmp_path / "cloud.usdc", cloud)
    assert UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(tmp_path / "cloud.usdc")), str(tmp_path / "cloud.usdz"))
    assert formats.format_of(tmp_path / "cloud.usdz").name == "usd"
    assert_within(cloud, formats.read(tmp_path / "cloud.usdz"), **EXACT)


@needs_usd
def test_one_prim_referred_to_without_end(tmp_path: Path) -> None:
    """A small file that would fill the disk and the memory."""
    formats.write(tmp_path / "cloud.usdc", random_gaussians(4000, 0))
    copies = "".join(f'def "S{i}" (references = @cloud.usdc@) {{}}\n' for i in range(400))
    (tmp_path / "many.usda").write_text(f"#usda 1.0\n{copies}")
    with pytest.raises(FileError, match="more values in its prims"):
        formats.read(tmp_path / "many.usda")
    (tmp_path / "few.usda").write_text("#usda 1.0\n" + "".join(copies.splitlines(True)[:3]))
    assert len(formats.read(tmp_path / "few.usda")) == 12000


@needs_usd
def test_written_prim_follows_the_schema(tmp_path: Path) -> None:
    """Read with the schema's own class, where this OpenUSD has it."""
    if not hasattr(UsdVol, "ParticleField3DGaussianSplat"):
        pytest.skip("this OpenUSD is older than the schema (26.03)")
    cloud = random_gaussians(5, 1)
    formats.write(tmp_path / "cloud.usdc", cloud)
    stage = Usd.Stage.Open(str(tmp_path / "cloud.usdc"))
    prim = UsdVol.ParticleField3DGaussianSplat(stage.GetDefaultPrim())
    assert prim
    known = set(Usd.SchemaRegistry().FindConcretePrimDefinition("ParticleField3DGaussianSplat").GetPropertyNames())
    written = {a.GetName(): a.GetTypeName() for a in prim.GetPrim().GetAuthoredAttributes()}
    assert set(written) <= known
    definition = Usd.SchemaRegistry().FindConcretePrimDefinition("ParticleField3DGaussianSplat")
    for name, kind in written.items():
        assert kind == definition.GetAttributeDefinition(name).GetTypeName(), name
    sh = np.asarray(prim.GetPrim().GetAttribute("radiance:sphericalHarmonicsCoefficients").Get()).reshape(5, 4, 3)
    np.testing.assert_array_equal(sh[:, 0], cloud.sh0[:, 0])
    np.testing.assert_array_equal(sh[:, 1], -cloud.shN[:, 0])  # proportional to -y


@needs_usd
@pytest.mark.parametrize(("ply", "usda"), [("one-gaussian-ascii.ply", "one-gaussian-ascii.ply.golden.usda")])
def test_golden_values(data_dir: Path, ply: str, usda: str) -> None:
    folder = data_dir / "fixtures/ply"
    assert_within(formats.read(folder / ply), formats.read(folder / usda), scales=1e-6)
    folder = data_dir / "fixtures/spz"
    spz = formats.read(folder / "decode-degree1-v2.spz")
    assert_within(spz, formats.read(folder / "decode-degree1-v2.spz.golden.usda"), scales=1e-6, opacities=1e-6, quats=1e-6)


def as_written(text: Gaussians, matrix: np.ndarray) -> Gaussians:
    return flipped(transformed(text, matrix), (1, -1, -1))


@needs_usd
@pytest.mark.parametrize(("up", "metres"), [("Y", 1), ("Z", 1), ("Y", 0.01), ("Z", 2)])
def test_up_axis_unit_and_transform(tmp_path: Path, up: str, metres: float) -> None:
    (tmp_path / "a.usda").write_text(ONE.format(up=up, metres=metres))
    stored = Gaussians(
        means=[[1, 2, 3]],  # type: ignore[arg-type]
        quats=[[0.5, 0.5, 0.5, 0.5]],  # type: ignore[arg-type]
        scales=np.log([[1, 2, 0.5]]),
        opacities=[0],  # type: ignore[arg-type]
        sh0=[[[1, 2, 3]]],  # type: ignore[arg-type]
        shN=[[[4, 5, 6], [7, 8, 9], [10, 11, 12]]],  # type: ignore[arg-type]
    )
    matrix = np.diag([metres, metres, metres, 1.0])
    matrix[0, 3] = 10 * metres
    if up == "Z":
        matrix = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]]) @ matrix
    assert_within(as_written(stored, matrix), formats.read(tmp_path / "a.usda"), **dict.fromkeys(EXACT, 1e-5))


@needs_usd
def test_half_precision_twins(tmp_path: Path) -> None:
    text = ONE.format(up="Y", metres=1)
    for old, new in (("point3f[] positions", "point3h[] positionsh"), ("float3[] scales", "half3[] scalesh")):
        text = text.replace(old, new)
    for old, new in (("quatf[] orientations", "quath[] orientationsh"), ("float[] opacities", "half[] opacitiesh")):
        text = text.replace(old, new)
    text = re.sub(r"float3\[\] (radiance:sphericalHarmonicsCoefficients)", r"half3[] \1h", text)
    (tmp_path / "half.usda").write_text(text)
    (tmp_path / "full.usda").write_text(ONE.format(up="Y", metres=1))
    assert "float" not in text
    assert_within(formats.read(tmp_path / "full.usda"), formats.read(tmp_path / "half.usda"))


@needs_usd
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[(1, 2, 0.5)]", "[(1, 2, 0.5), (1, 2, 3)]", "'scales' of /Root/S has 2 values, expected 1 for 1"),
        ("float[] opacities = [0.5]", "", "'opacities' of /Root/S has 0 values, expected 1 for 1"),
        ("[(1, 2, 3)]", "[]", "field 'positions' is 0"),
        ("point3f[] positions", "string[] positions", "cannot be opened as USD"),
        ("point3f[] positions = [(1, 2, 3)]", 'string[] positions = ["a"]', "attribute 'positions' of /Root/S has shape"),
        ("Degree = 1", "Degree = 7", "'radiance:sphericalHarmonicsDegree' is 7"),
        ("Degree = 1", "Degree = 2", "has 4 values, expected 9 for 1 'positions' at SH degree 2"),
        ("metersPerUnit = 1", "metersPerUnit = 0", "'metersPerUnit' is 0"),
        ("metersPerUnit = 1", "metersPerUnit = -1", "'metersPerUnit' is -1"),
        ("def ParticleField3DGaussianSplat", "def Mesh", "has no prim of type"),
        ("(10, 0, 0)", "(10, 0, inf)", "the transform of /Root/S cannot be used"),
        ("(1, 2, 3)]", "(1, nan, 3)]", "value in 'means' that is not finite"),
        ('def Xform "Root"', 'def Xform "Root" (references = @/etc/hosts@)', "refers to the file '/etc/hosts'"),
        ('def Xform "Root"', 'def Xform "Root" (references = @../a.usda@)', "refers to the file '../a.usda'"),
        ('def Xform "Root"', 'def Xform "Root" (payload = @http://x.org/a.usda@)', "refers to the file 'http://x.org/a.usda'"),
        ("quatf[] orientations = [", "quatf[] orientations = ", "cannot be opened as USD"),
        ("#usda 1.0", "#usda 1.0\n}", "cannot be opened as USD"),
    ],
)
def test_malformed(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = ONE.format(up="Y", metres=1)
    assert old in text
    path = tmp_path / "bad.usda"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_usd
def test_damaged_crate(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.usdc", random_gaussians(50, 1))
    content = (tmp_path / "a.usdc").read_bytes()
    for cut in (9, 60, 200, len(content) // 2, len(content) - 1):
        path = tmp_path / f"cut{cut}.usdc"
        path.write_bytes(content[:cut])
        with pytest.raises(FileError, match="cannot be opened as USD"):
            formats.read(path)


@needs_usd
def test_crash_of_openusd_is_an_error_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.usda").write_text(ONE.format(up="Y", metres=1))
    child = Path(usd.__file__).with_name("_usd_child.py").read_text()
    (tmp_path / "_usd_child.py").write_text(child.replace("    limit_memory(source)\n", "    import os\n    os.abort()\n"))
    monkeypatch.setattr(usd, "__file__", str(tmp_path / "usd.py"))
    with pytest.raises(FileError, match="OpenUSD's reader crashed on it"):
        formats.read(tmp_path / "a.usda")
    (tmp_path / "_usd_child.py").write_text(child.replace("from pxr import Sdf", "from pxr_of_blender import Sdf"))
    with pytest.raises(MissingDependencyError, match="usd-core"):
        formats.read(tmp_path / "a.usda")
    (tmp_path / "_usd_child.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(usd, "PATIENCE_SECONDS", 0.5)
    with pytest.raises(FileError, match="did not finish it within"):
        formats.read(tmp_path / "a.usda")


def test_without_openusd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n == "pxr" or n.startswith("pxr.")] + ["pxr"]:
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "a.usda").write_text(ONE.format(up="Y", metres=1))
    with pytest.raises(MissingDependencyError, match="usd-core"):
        formats.read(tmp_path / "a.usda")
    with pytest.raises(MissingDependencyError, match="usd-core"):
        formats.write(tmp_path / "b.usda", random_gaussians(3, 0))
    assert [p.name for p in tmp_path.iterdir()] == ["a.usda"]
