# SPDX-License-Identifier: GPL-3.0-or-later
"""The same captures through another tool, PlayCanvas' splat-transform, both ways. Skipped where it is not installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from exgs_blender import formats

from ..clouds import random_gaussians
from .compare import assert_within
from .encoders import compressed_ply_bytes, sog_parts, spz_bytes, write_bundle

TOOL = shutil.which("splat-transform")
pytestmark = pytest.mark.skipif(TOOL is None, reason="splat-transform is not on PATH (npm install -g @playcanvas/splat-transform)")
EXACT = {"means": 1e-5, "scales": 1e-5, "opacities": 1e-5, "sh0": 1e-5, "shN": 1e-5, "quats": 1e-5}


def transform(source: Path, target: Path) -> Path:
    assert TOOL is not None
    done = subprocess.run([TOOL, "-w", "-g", "cpu", source, target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.mark.parametrize("suffix", [".compressed.ply", ".sog", ".spz"])
def test_what_it_writes_reads_as_it_reads_it(tmp_path: Path, suffix: str) -> None:
    """Our PLY -> its packed file -> read by us, and read by it and handed over as PLY: the same values."""
    formats.write(tmp_path / "ours.ply", random_gaussians(500, 3))
    packed = transform(tmp_path / "ours.ply", tmp_path / f"packed{suffix}")
    plain = transform(packed, tmp_path / "plain.ply")
    assert_within(formats.read(plain), formats.read(packed), **EXACT)


@pytest.mark.parametrize("name", ["a.compressed.ply", "a.sog", "v2.spz", "v3.spz", "v4.spz"])
def test_test_encoders_write_what_it_reads(tmp_path: Path, name: str) -> None:
    """The encoders of these tests are no private dialect."""
    cloud = random_gaussians(300, 3)
    path = tmp_path / name
    if name.endswith(".sog"):
        write_bundle(path, sog_parts(cloud))
    else:
        path.write_bytes(spz_bytes(cloud, int(name[1])) if name.endswith(".spz") else compressed_ply_bytes(cloud))
    assert_within(formats.read(transform(path, tmp_path / "plain.ply")), formats.read(path), **EXACT)
