# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exgs_blender import formats
from exgs_blender.errors import FileError
from exgs_blender.formats.exgs import read_asset
from exgs_blender.splats import Gaussians
from exgs_blender.splats.activation import SH_C0, opacity_from_logit
from exgs_blender.splats.ellipsoids import covariances_of
from exgs_blender.ugc import CompressSettings, compress
from exgs_blender.ugc.pipeline import encode_all
from exgs_blender.ugc.quantise import NEAR_LOSSLESS, quantise_with_order

from ..clouds import random_gaussians
from ..ugc.made_up import random_statistics


def _in_file_order(cloud: Gaussians) -> Gaussians:
    return cloud.select(quantise_with_order(cloud, NEAR_LOSSLESS)[1])


@pytest.mark.parametrize("degree", range(5))
def test_writing_is_near_lossless(tmp_path: Path, degree: int) -> None:
    """The errors that the module's docstring promises."""
    cloud = random_gaussians(1000, degree)
    formats.write(tmp_path / "a.exgs", cloud)
    source, found = _in_file_order(cloud), formats.read(tmp_path / "a.exgs")
    assert (len(found), found.sh_degree) == (1000, degree)
    np.testing.assert_allclose(found.means, source.means, atol=4.0 / 2**18)
    np.testing.assert_allclose(np.sort(found.scales, axis=1), np.sort(source.scales, axis=1), atol=0.0051)
    np.testing.assert_allclose(opacity_from_logit(found.opacities), opacity_from_logit(source.opacities), atol=0.0005)
    np.testing.assert_allclose(SH_C0 * found.sh0, SH_C0 * source.sh0, atol=2.1 / 1024)
    assert not degree or np.sqrt(np.mean(np.square(found.shN - source.shN))) < 0.002
    largest = np.exp(2 * source.scales.max(axis=1))[:, None]
    np.testing.assert_allclose(covariances_of(found) / largest, covariances_of(source) / largest, atol=0.02)


def test_a_compressed_asset_keeps_its_metadata(tmp_path: Path) -> None:
    result = compress(random_gaussians(3000, 1), random_statistics(3000), CompressSettings(20, source_name="made up"))
    path = tmp_path / "a.exgs"
    path.write_bytes(result.data)
    asset = read_asset(path)
    assert (asset.metadata["source_name"], asset.metadata["source_count"]) == ("made up", 3000)
    assert len(formats.read(path)) == result.kept
    assert formats.format_of(path).name == "exgs"


def test_a_rewritten_file_changes_no_more(tmp_path: Path) -> None:
    """Rounding what is already rounded moves nothing further than the first time."""
    formats.write(tmp_path / "a.exgs", random_gaussians(500, 2))
    once = formats.read(tmp_path / "a.exgs")
    formats.write(tmp_path / "b.exgs", once)
    twice = formats.read(tmp_path / "b.exgs")
    once, twice = (cloud.select(np.argsort(cloud.means[:, 0])) for cloud in (once, twice))
    np.testing.assert_allclose(twice.means, once.means, atol=4.0 / 2**18)
    np.testing.assert_allclose(np.sort(twice.scales, axis=1), np.sort(once.scales, axis=1), atol=1e-5)


@pytest.mark.parametrize("keep", [1, 9, 15, 60, 300, -1])
def test_truncated_files(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.exgs"
    formats.write(path, random_gaussians(100, 1))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FileError, match=r"a\.exgs: "):
        formats.read(path)


def test_no_file_empty_file_empty_cloud(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        read_asset(tmp_path / "none.exgs")
    (tmp_path / "empty.exgs").touch()
    with pytest.raises(FileError, match="file is empty"):
        read_asset(tmp_path / "empty.exgs")
    (tmp_path / "nothing.exgs").write_bytes(encode_all(random_gaussians(0, 0)))
    with pytest.raises(FileError, match="at least one Gaussian"):
        formats.read(tmp_path / "nothing.exgs")


def test_a_folder_that_is_a_file_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be written"):
        formats.write(tmp_path / "file" / "a.exgs", random_gaussians(3, 0))


def test_a_real_capture_near_losslessly(data_dir: Path, tmp_path: Path) -> None:
    cloud = formats.read(data_dir / "scenes" / "leica-sofort" / "leica-sofort-top8192.ply")
    formats.write(tmp_path / "a.exgs", cloud)
    source, found = _in_file_order(cloud), formats.read(tmp_path / "a.exgs")
    assert (tmp_path / "a.exgs").stat().st_size < cloud.ply_bytes / 5
    distance = np.linalg.norm(source.means - np.median(source.means, axis=0), axis=1) + 1
    assert (np.abs(found.means - source.means).max(axis=1) / distance).max() < 1e-3
    np.testing.assert_allclose(opacity_from_logit(found.opacities), opacity_from_logit(source.opacities), atol=0.0005)
