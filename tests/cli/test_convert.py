# SPDX-License-Identifier: GPL-3.0-or-later
"""``exgs convert`` and ``exgs info`` over the formats' options."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exgs_blender.cli import main
from exgs_blender.formats import formats, read, write
from tests.clouds import random_gaussians
from tests.conftest import ROOT


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    write(tmp_path / "capture.ply", random_gaussians(300, 2))
    return tmp_path / "capture.ply"


@pytest.mark.parametrize("suffix", sorted({s for f in formats() if f.write and f.max_sh_degree >= 2 for s in f.suffixes}))
def test_every_writable_format(capture: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = capture.with_name("out") / (suffix if suffix.endswith(".json") else f"cloud{suffix}")
    target.parent.mkdir()
    assert main(["convert", str(capture), str(target)]) == 0
    assert "300 Gaussians of SH degree 2" in capsys.readouterr().out
    assert len(read(target)) == 300
    assert main(["info", str(target)]) == 0
    assert "300" in capsys.readouterr().out


def test_sh_is_dropped_when_asked_and_only_then(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = capture.with_name("cloud.splat")
    assert main(["convert", str(capture), str(target)]) == 1
    assert "--sh-degree 0" in capsys.readouterr().err
    assert not target.exists()
    assert main(["convert", str(capture), str(target), "--sh-degree", "0"]) == 0
    assert main(["convert", str(capture), str(capture.with_name("one.ply")), "--sh-degree", "1"]) == 0
    again = read(capture.with_name("one.ply"))
    np.testing.assert_array_equal(again.shN, read(capture).shN[:, :3])
    assert main(["convert", str(capture), str(capture.with_name("same.ply")), "--sh-degree", "4"]) == 0
    assert read(capture.with_name("same.ply")).sh_degree == 2


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_spz_versions(capture: Path, version: int) -> None:
    target = capture.with_name("cloud.spz")
    assert main(["convert", str(capture), str(target), "--spz-version", str(version)]) == 0
    data = target.read_bytes()
    assert (data if version == 4 else gzip.decompress(data))[4] == version


def test_levels_of_detail(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    playbot = str(data_dir / "scenes/playbot")
    assert main(["convert", playbot, str(tmp_path / "coarse.ply"), "--lod", "6"]) == 0
    assert len(read(tmp_path / "coarse.ply")) == 1873
    assert main(["info", playbot, "--lod", "99"]) == 1
    assert "level 99 was asked for" in capsys.readouterr().err


def test_options_of_other_formats_are_refused_before_reading(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(capture), str(capture.with_name("a.glb")), "--spz-version", "3"]) == 1
    assert "has no option 'version'" in capsys.readouterr().err
    assert main(["convert", str(capture), str(capture.with_name("a.glb")), "--lod", "1"]) == 1
    assert "has no option 'level'" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
def test_a_reader_that_has_seen_enough(capture: Path) -> None:
    """``exgs info capture.ply | head -1`` ends quietly."""
    out, into = os.pipe()
    os.close(out)
    command = [sys.executable, "-m", "exgs_blender.cli", "info", str(capture)]
    done = subprocess.run(command, stdout=into, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    os.close(into)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr
