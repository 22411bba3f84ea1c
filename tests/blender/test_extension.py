# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip: built, validated by Blender's own tool, installed, enabled, used."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from exgs_blender import formats
from tests.clouds import random_gaussians
from tests.worker.wheels import make_bundle

from .harness import RunInBlender

pytestmark = pytest.mark.blender
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built zip; skipped where Blender's builder or the bundled wheel is not to be had."""
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("this Python has no bpy, which holds Blender's builder")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, str(ROOT / "vendor_wheels" / "build.py"), "--output", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode and "pip" in done.stderr:
        pytest.skip(f"the bundled wheel cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.zip"))


def test_contents(extension: Path) -> None:
    with zipfile.ZipFile(extension) as archive:
        names = archive.namelist()
    assert {"__init__.py", "blender_manifest.toml", "LICENSE", "worker/launch.py", "blender/engine.py"} <= set(names)
    assert any(name.startswith("vendor_wheels/plyfile") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
    weights = {
        path.relative_to(ROOT / "exgs_blender").as_posix() for path in (ROOT / "exgs_blender/painter/weights").rglob("*") if path.is_file()
    }
    assert weights <= set(names), "GaussPainter's weights are not in the zip"


def test_install_enable_use_disable(blender: RunInBlender, extension: Path, worker_environment: dict[str, str], tmp_path: Path) -> None:
    capture = tmp_path / "cloud.ply"
    formats.write(capture, random_gaussians(300, 1))
    found = blender("install", environment=worker_environment, zip=str(extension), capture=str(capture), root=str(ROOT))
    assert found["enabled"]
    assert str(ROOT) not in found["file"], "the checkout was used, not the installed extension"
    assert found["import"] == ["FINISHED"]
    assert found["object"] in ("POINTCLOUD", "MESH")
    assert Path(found["frame"]).stat().st_size > 500
    assert len(found["registered"]) > 15
    assert found["left"] == [], "disabling left something registered"
    assert found["again"]


def test_without_a_worker_and_how_it_is_installed(blender: RunInBlender, extension: Path, tmp_path: Path) -> None:
    """Complaints of others: Blender's Python change breaks installs (KIRI #53, #55, #56), no CUDA (KIRI #37, #39); torch inside
    Blender breaks (dream-textures #2, #792, #184; Pallaidium #85)."""
    capture = tmp_path / "cloud.ply"
    formats.write(capture, random_gaussians(300, 1))
    bundle, lock = make_bundle(tmp_path, exgs_one="x = 1", exgs_two="import exgs_one")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "exgs_one-1.0-py3-none-any.whl").write_bytes(b"PK")
    paths = {"zip": extension, "capture": capture, "root": ROOT, "bundle": bundle, "lock": lock, "broken": broken}
    environment = {"EXGS_PYTHON": "", "XDG_DATA_HOME": str(tmp_path / "data")}
    found = blender("worker_setup", environment=environment, **{name: str(path) for name, path in paths.items()})
    without = found["without"]
    assert "not installed" in without.pop("compress")
    assert set(without.values()) == {300}, without
    assert not found["online access"]
    assert "online access is off" in found["offline"]
    assert "offline bundle" in found["offline"], "no way out is named"
    report = "\n".join(found["doctor without"])
    assert "Preferences > Add-ons > ExGS" in report
    assert "work without the worker" in report
    assert "not whole" in found["broken"]
    assert "already" in found["twice"]
    assert found["cancelled"] == ["cancelled", "interrupted"]
    assert found["done"][0] == "done", found["done"]
    assert found["python"].startswith(found["folder"])
    assert ".user" in found["folder"], "not in the folder that Blender gives an extension"
    report = "\n".join(found["doctor with"])
    assert "torch       not installed  - MISSING" in report
    assert found["python"] in report
    assert found["removed"] == "absent"
