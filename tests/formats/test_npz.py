# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exgs_blender import formats
from exgs_blender.errors import FileError
from exgs_blender.splats import Gaussians

from ..clouds import random_gaussians

Arrays = dict[str, np.ndarray]


def gsplat(cloud: Gaussians) -> Arrays:
    return dict(cloud.arrays())


def nerfstudio(cloud: Gaussians) -> Arrays:
    arrays = gsplat(cloud)
    names = {"sh0": "features_dc", "shN": "features_rest"}
    arrays |= {"opacities": cloud.opacities[:, None], "sh0": cloud.sh0[:, 0]}
    renamed = {f"_model.gauss_params.{names.get(name, name)}": array for name, array in arrays.items()}
    return renamed | {"optimizer.step": np.zeros(3), "camera_opt.pose": np.zeros((4, 6))}


@pytest.mark.parametrize("layout", [gsplat, nerfstudio])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("degree", [0, 3])
def test_reads(tmp_path: Path, layout: Callable[[Gaussians], Arrays], save: Callable[..., None], degree: int) -> None:
    cloud = random_gaussians(100, degree)
    save(tmp_path / "ckpt.npz", **layout(cloud))
    (tmp_path / "ckpt.npz").rename(tmp_path / "nameless")
    assert formats.format_of(tmp_path / "nameless").name == "npz"
    for name, array in formats.read(tmp_path / "nameless").arrays():
        np.testing.assert_array_equal(array, getattr(cloud, name), err_msg=name)


def test_other_types_and_a_missing_shN(tmp_path: Path) -> None:
    cloud = random_gaussians(10, 0)
    arrays = gsplat(cloud) | {"means": cloud.means.astype(np.float64), "opacities": np.full(10, np.inf, np.float16)}
    del arrays["shN"]
    np.savez(tmp_path / "ckpt.npz", **arrays)
    again = formats.read(tmp_path / "ckpt.npz")
    np.testing.assert_array_equal(again.means, cloud.means)
    np.testing.assert_array_equal(again.opacities, 16)


def member(array: np.ndarray, header: bytes | None = None) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    data = file.getvalue()
    return data if header is None else data[:10] + header.ljust(len(data[10 : data.index(b"\n") + 1]) - 1) + data[data.index(b"\n") :]


def archive(path: Path, arrays: Arrays, **replaced: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            file.writestr(f"{name}.npy", replaced.get(name, member(array)))
    return path


class Boom:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("a pickle was run",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"means": np.zeros((9, 3))}, "array 'quats' has shape [10, 4], expected [9, 4]"),
        (lambda a: a | {"means": np.zeros((10, 2))}, "array 'means' has shape [10, 2], expected [10, 3]"),
        (lambda a: a | {"means": np.float32(3)}, "'means' is 0"),
        (lambda a: a | {"means": np.zeros((0, 3))}, "'means' is 0"),
        (lambda a: a | {"shN": np.zeros((10, 5, 3))}, "array 'shN' has shape [10, 5, 3], expected [10, 'K-1', 3]"),
        (lambda a: a | {"quats": np.zeros((10, 4), complex)}, "holds complex128"),
        (lambda a: a | {"quats": np.zeros((4, 10)).T}, "Fortran order"),
        (lambda a: a | {"scales": np.full((10, 3), 100.0)}, "log scale of 100"),
        (lambda a: a | {"means": np.full((10, 3), np.nan)}, "value in 'means' that is not finite"),
        (lambda a: {k: v for k, v in a.items() if k != "scales"}, "has no array 'scales'"),
        (lambda a: a | {"other.means": a["means"]}, "holds 'means' twice"),
    ],
)
def test_malformed(tmp_path: Path, change: Callable[[Arrays], Arrays], message: str) -> None:
    np.savez(tmp_path / "bad.npz", **change(gsplat(random_gaussians(10, 1))))
    with pytest.raises(FileError) as caught:
        formats.read(tmp_path / "bad.npz")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "bad.npz", **gsplat(random_gaussians(10, 0)) | {"sh0": np.array([Boom()] * 10, object)})
    with pytest.raises(FileError, match="holds object"):
        formats.read(tmp_path / "bad.npz")
    assert capsys.readouterr().out == ""


def test_a_header_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    arrays = gsplat(random_gaussians(10, 0))
    huge = member(arrays["means"], b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 3), }")
    with pytest.raises(FileError, match=r"claims shape \(99999999999, 3\), its \d+ bytes cannot hold that"):
        formats.read(archive(tmp_path / "bad.npz", arrays, means=huge))
    negative = member(arrays["means"], b"{'descr': '<f4', 'fortran_order': False, 'shape': (-10, -3), }")
    with pytest.raises(FileError):
        formats.read(archive(tmp_path / "bad.npz", arrays, means=negative))


def test_bomb(tmp_path: Path) -> None:
    arrays = gsplat(random_gaussians(10, 0)) | {"means": np.zeros((9_000_000, 3), np.float32)}
    with pytest.raises(FileError, match=r"claims 108000000 bytes, which \d+ packed ones cannot hold"):
        formats.read(archive(tmp_path / "bomb.npz", arrays))


def test_damaged_zip(tmp_path: Path) -> None:
    path = archive(tmp_path / "bad.npz", gsplat(random_gaussians(10, 0)))
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    with pytest.raises(FileError, match="not a whole ZIP file"):
        formats.read(path)
    path.write_bytes(content[:60] + b"\xff\xff\xff" + content[63:])
    with pytest.raises(FileError, match="cannot be read"):
        formats.read(path)


@pytest.mark.parametrize("header", [b"{'descr': '<f4', 'shape': (10, 3),", b"(" * 9000, b"{'descr': [], 'shape': 3}", b"\xff{", b"[1] * 3"])
def test_damaged_header_of_an_array(tmp_path: Path, header: bytes) -> None:
    """The first one was found by the fuzzer: its tokenizer's error is of a kind of its own."""
    np.savez(tmp_path / "a.npz", **gsplat(random_gaussians(10, 0)))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["means.npy"] = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(FileError, match=r"the header of array .means\.npy. cannot be read"):
        formats.read(tmp_path / "b.npz")
