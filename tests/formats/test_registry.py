# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exgs_blender import formats
from exgs_blender.errors import CancelledError, ExgsError, FileError

from ..clouds import random_gaussians
from .encoders import compressed_ply_bytes, sog_parts, spz_bytes, write_bundle, write_folder


def test_formats_are_found_by_content_whatever_their_name(tmp_path: Path) -> None:
    cloud = random_gaussians(10, 1)
    formats.write(tmp_path / "cloud.ply", cloud)
    (tmp_path / "cloud.ply").rename(tmp_path / "a")
    (tmp_path / "b").write_bytes(compressed_ply_bytes(cloud))
    (tmp_path / "c").write_bytes(spz_bytes(cloud, 2))
    (tmp_path / "d").write_bytes(spz_bytes(cloud, 4))
    write_bundle(tmp_path / "e", sog_parts(cloud, 10))
    write_folder(tmp_path / "f", sog_parts(cloud, 10))
    names = [formats.format_of(tmp_path / name).name for name in "abcdef"]
    assert names == ["ply", "compressed_ply", "spz", "spz", "sog", "sog"]
    assert all(len(formats.read(tmp_path / name)) == 10 for name in "abcdef")


@pytest.mark.parametrize(("content", "message"), [(b"", "file is empty"), (b"solid cube", "not a splat file"), (None, "does not exist")])
def test_other_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.ply"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        formats.read(path)


def test_other_folder(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not a splat file"):
        formats.read(tmp_path)


def test_formats_that_are_only_read_cannot_be_written(tmp_path: Path) -> None:
    cloud = random_gaussians(3, 0)
    for name in ("a.ksplat", "a.npz", "a.obj"):
        with pytest.raises(ExgsError, match=r"no format with this suffix can be written; use one of .*\.ply"):
            formats.write(tmp_path / name, cloud)
    assert list(tmp_path.iterdir()) == []


def test_unknown_options_and_empty_clouds(tmp_path: Path) -> None:
    cloud = random_gaussians(3, 0)
    with pytest.raises(ExgsError, match="Gaussian Splatting PLY has no option 'version'"):
        formats.write(tmp_path / "a.ply", cloud, version=3)
    formats.write(tmp_path / "a.ply", cloud)
    with pytest.raises(ExgsError, match="Gaussian Splatting PLY has no option 'level'"):
        formats.read(tmp_path / "a.ply", level=1)
    with pytest.raises(ExgsError, match=r"SPZ \(Niantic\) has no option 'level'; it has version"):
        formats.write(tmp_path / "a.spz", cloud, level=1)
    with pytest.raises(ExgsError, match="no Gaussians to write"):
        formats.write(tmp_path / "b.ply", cloud.select(slice(0, 0)))


def test_plain_ply_with_the_name_of_a_compressed_one(tmp_path: Path) -> None:
    cloud = random_gaussians(10, 1)
    formats.write(tmp_path / "a.ply", cloud)
    (tmp_path / "a.ply").rename(tmp_path / "a.compressed.ply")
    np.testing.assert_array_equal(formats.read(tmp_path / "a.compressed.ply").shN, cloud.shN)


WRITABLE = [f for f in formats.formats() if f.write]


@pytest.mark.parametrize("kind", WRITABLE, ids=lambda kind: kind.name)
def test_progress_runs_from_0_to_1_both_ways(tmp_path: Path, kind: formats.Format) -> None:
    path = tmp_path / f"cloud{kind.suffixes[0] if kind.name != 'sog' else '.sog'}"
    steps: list[tuple[str, float]] = []
    formats.write(path, random_gaussians(3000, min(kind.max_sh_degree, 1)), report=lambda *step: steps.append(step))
    written = len(steps)
    formats.read(path, report=lambda *step: steps.append(step))
    for part in (steps[:written], steps[written:]):
        for stage in {stage for stage, _ in part}:
            fractions = [fraction for name, fraction in part if name == stage]
            assert fractions == sorted(fractions), stage
            assert 0 <= fractions[0] <= fractions[-1] <= 1
        assert part[-1][1] == 1


@pytest.mark.parametrize("kind", WRITABLE, ids=lambda kind: kind.name)
def test_cancelled_writing_leaves_what_was_there(tmp_path: Path, kind: formats.Format) -> None:
    """A listener cancels at each of the first steps: the old file stays, nothing half-written does."""
    path = tmp_path / f"cloud{kind.suffixes[0] if kind.name != 'sog' else '.sog'}"
    cloud = random_gaussians(300, min(kind.max_sh_degree, 1))
    formats.write(path, cloud)
    before = path.read_bytes()
    for when in range(4):
        steps = 0

        def stop(stage: str, fraction: float, when: int = when) -> None:
            nonlocal steps
            steps += 1
            if steps > when and fraction < 1:
                raise CancelledError()

        try:
            formats.write(path, cloud, report=stop)
        except CancelledError:
            assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_importing_and_plain_ply_need_only_numpy(tmp_path: Path) -> None:
    """Blender's Python has neither Pillow nor zstandard: formats must be listed, and PLY read, without them."""
    formats.write(tmp_path / "a.ply", random_gaussians(3, 0))
    code = f"""
import sys
for name in ("PIL", "zstandard", "plyfile", "torch", "numba"):
    sys.modules[name] = None
from exgs_blender import formats
assert {{"ply", "spz", "sog", "compressed_ply"}} <= {{f.name for f in formats.formats()}}
assert len(formats.read({str(tmp_path / "a.ply")!r})) == 3
"""
    subprocess.run([sys.executable, "-c", code], check=True)
