# SPDX-License-Identifier: GPL-3.0-or-later
"""What does not read back does not take the place of an older file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exgs_blender.errors import FileError
from exgs_blender.formats import read
from exgs_blender.formats.verify import write_verified
from tests.clouds import random_gaussians


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.spz", "a.sog", "a.splat", "a.glb", "meta.json", "a.exgs"])
def test_it_is_written_under_its_name_and_nothing_else_stays(tmp_path: Path, name: str) -> None:
    cloud = random_gaussians(300, 0, seed=1)
    write_verified(tmp_path / "new" / name, cloud)
    assert len(read(tmp_path / "new" / name)) == 300
    assert not [path for path in (tmp_path / "new").iterdir() if path.name.startswith(".")]


def test_a_file_that_does_not_read_back_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "a.compressed.ply"
    good = random_gaussians(200, 0, seed=1)
    write_verified(path, good)
    before = path.read_bytes()
    far = random_gaussians(200, 0, seed=2)
    far.means[3] = 1e6  # in one chunk of 11 bits with the rest, which then falls together
    with pytest.raises(FileError, match=r"a\.compressed\.ply: read back, its positions are off") as caught:
        write_verified(path, far)
    assert caught.value.path == str(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.compressed.ply"]
    assert np.isfinite(read(path).means).all()


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(FileError, match="cannot be written"):
        write_verified(tmp_path / "file" / "a.ply", random_gaussians(10, 0, seed=1))
