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
