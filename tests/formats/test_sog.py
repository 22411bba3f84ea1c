# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from exgs_blender import formats
from exgs_blender.errors import ExgsError, FileError, MissingDependencyError
from exgs_blender.formats._sh_palette import sh_palette
from exgs_blender.formats._sog_write import codebook, palette_size
from exgs_blender.splats import Gaussians

from ..clouds import random_gaussians
from .compare import assert_within, in_order_of, refusal
from .encoders import sog_parts, sog_version_1_parts, write_bundle, write_folder

PALETTE = 70


def palette_cloud(count: int, degree: int) -> Gaussians:
    """Gaussian i has the SH of Gaussian i % PALETTE, as SOG can store it."""
    cloud = random_gaussians(count, degree, seed=degree)
    cloud.shN[:] = cloud.shN[np.arange(count) % min(PALETTE, count)]
    return cloud


def edit_meta(parts: dict[str, bytes], change: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
    meta = json.loads(parts["meta.json"])
    change(meta)
    return parts | {"meta.json": json.dumps(meta).encode()}


def set_field(section: str, key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda meta: meta[section].__setitem__(key, value)


def image(width: int, height: int, mode: str = "RGBA", kind: str = "WEBP") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind, lossless=True)
    return file.getvalue()


@pytest.mark.parametrize("degree", range(4))
def test_round_trip(tmp_path: Path, degree: int) -> None:
    cloud = palette_cloud(500, degree)
    parts = sog_parts(cloud, PALETTE)
    bundle = formats.read(write_bundle(tmp_path / "cloud.sog", parts))
    logs = np.log1p(np.abs(cloud.means)).max(axis=0)
    assert_within(
        cloud,
        bundle,
        means=float((np.exp(logs) * 2 * logs / 65535).max()),
        scales=0.5 * np.ptp(cloud.scales) / 255 + 1e-6,
        opacities=0.5 / 255 + 1e-6,
        sh0=0.5 * np.ptp(cloud.sh0) / 255 + 1e-6,
        shN=0.5 * (np.ptp(cloud.shN) if degree else 0) / 255 + 1e-6,
        quats=0.01,
    )
    folder = write_folder(tmp_path / "folder", parts)
    nested = write_bundle(tmp_path / "nested.zip", parts, "capture/")
    for path in (folder, folder / "meta.json", nested):
        assert formats.format_of(path).name == "sog"
        assert_within(bundle, formats.read(path), opacities=0)


def test_early_writers_lost_the_first_codebook_entry(tmp_path: Path) -> None:
    cloud = palette_cloud(100, 0)
    parts = sog_parts(cloud)
    whole = formats.read(write_folder(tmp_path / "whole", parts))
    lost = edit_meta(parts, lambda meta: meta["scales"]["codebook"].__setitem__(0, None))
    assert_within(whole, formats.read(write_folder(tmp_path / "lost", lost)), scales=3 * np.ptp(cloud.scales) / 255)


@pytest.mark.parametrize("name", ["cloud.sog", "meta.json"])
@pytest.mark.parametrize("degree", range(4))
def test_written(tmp_path: Path, degree: int, name: str) -> None:
    """More Gaussians than SH palette entries, but no more different SH vectors."""
    cloud = palette_cloud(700, degree)
    path = tmp_path / "out" / name
    formats.write(path, cloud)
    assert formats.format_of(path).name == "sog"
    again = formats.read(path)
    logs = np.log1p(np.abs(cloud.means)).max(axis=0)
    steps = {field: 1.5 * np.ptp(getattr(cloud, field)) / 255 for field in ("scales", "sh0", "shN") if getattr(cloud, field).size}
    limits = {"means": float((np.exp(logs) * logs / 65535).max()), "opacities": 0.5 / 255 + 1e-6, "quats": 0.006, **steps}
    assert_within(in_order_of(cloud, again), again, **limits)
    expected = {"meta.json", "means_l.webp", "means_u.webp", "scales.webp", "quats.webp", "sh0.webp"}
    expected |= {"shN_centroids.webp", "shN_labels.webp"} if degree else set()
    found = zipfile.ZipFile(path).namelist() if name.endswith(".sog") else [p.name for p in path.parent.iterdir()]
    assert set(found) == expected


def test_equal_values_and_few_gaussians(tmp_path: Path) -> None:
    for count in (1, 2, 5):
        cloud = random_gaussians(1, 3).select(np.zeros(count, int))
        formats.write(tmp_path / "cloud.sog", cloud)
        again = formats.read(tmp_path / "cloud.sog")
        assert_within(cloud, again, means=1e-6, opacities=0.002, quats=0.006, sh0=0.02, shN=0.02, scales=0.02)


def test_levels_of_detail_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ExgsError, match="levels of detail are not written"):
        formats.write(tmp_path / "lod-meta.json", random_gaussians(3, 0))
    assert list(tmp_path.iterdir()) == []


def test_codebook_is_near_the_best_there_is() -> None:
    """For a normal distribution 256 levels reach a mean squared error of sqrt(3) pi / (2 * 256^2) (Panter and Dite 1951)."""
    values = np.random.default_rng(0).normal(size=(100_000, 3)).astype(np.float32)
    book, indices = codebook(values)
    error = np.mean((np.array(book)[indices] - values) ** 2)
    assert error < 1.15 * np.sqrt(3) * np.pi / 2 / 256**2
    assert book == sorted(book)


def test_palette_is_as_good_as_a_flat_k_means() -> None:
    """Lloyd's algorithm on everything at once is the slow, clear twin."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, 9)) * 2
    vectors = (centres[rng.integers(0, 60, 6000)] + rng.normal(size=(6000, 9)) * rng.uniform(0.1, 0.6, (6000, 1))).astype(np.float32)
    palette, labels = sh_palette(vectors, 256)
    assert palette.shape == (256, 9)
    flat = vectors[rng.choice(6000, 256, replace=False)]
    for _ in range(12):
        nearest = ((vectors[:, None] - flat[None]) ** 2).sum(axis=2).argmin(axis=1)
        flat = np.array([vectors[nearest == k].mean(axis=0) if (nearest == k).any() else flat[k] for k in range(256)])
    flat_error = np.mean((vectors - flat[nearest]) ** 2)
    assert np.mean((vectors - palette[labels]) ** 2) < 1.05 * flat_error


@pytest.mark.parametrize(("count", "entries"), [(1, 1), (300, 256), (1000, 512), (5000, 4096), (100_000, 65536), (10**7, 65536)])
def test_palette_size(count: int, entries: int) -> None:
    assert min(palette_size(count), count) == min(entries, count)


@pytest.mark.parametrize("degree", range(4))
def test_version_1(tmp_path: Path, degree: int) -> None:
    cloud = palette_cloud(500, degree)
    np.clip(cloud.opacities, -6, 6, out=cloud.opacities)
    second = formats.read(write_folder(tmp_path / "2", sog_parts(cloud, PALETTE)))
    first = formats.read(write_bundle(tmp_path / "1.sog", sog_version_1_parts(cloud, PALETTE)))
    assert_within(second, first, opacities=0.01, scales=1e-5, sh0=1e-5, shN=1e-5)
    np.testing.assert_allclose(first.opacities, cloud.opacities, atol=0.5 * 12 / 255 + 1e-5)


VERSION_1: list[tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = [
    (lambda p: edit_meta(p, lambda m: m["means"].pop("shape")), "'means.shape' is None"),
    (lambda p: edit_meta(p, set_field("means", "shape", [])), "'means.shape' is []"),
    (lambda p: edit_meta(p, set_field("means", "shape", [0, 3])), "'means.shape' is 0"),
    (lambda p: edit_meta(p, set_field("means", "shape", [2**31, 3])), "claims 2147483648 Gaussians"),
    (lambda p: edit_meta(p, set_field("scales", "mins", [0, 0])), "'scales.mins' should be a list of 3"),
    (lambda p: edit_meta(p, set_field("scales", "maxs", [500, 0, 0])), "log scale of"),
    (lambda p: edit_meta(p, set_field("sh0", "maxs", [0, 0, 0])), "'sh0.maxs' should be a list of 4"),
    (lambda p: edit_meta(p, set_field("shN", "maxs", "x")), "'shN.mins and shN.maxs' should be a list of 2"),
    (lambda p: p | {"shN_centroids.webp": image(100, 2)}, "is 100 x 2, expected 192, 512 or 960 wide"),
    (lambda p: p | {"shN_centroids.webp": image(192, 1)}, "points to SH entry 69, the palette has 64"),
    (lambda p: p | {"shN_centroids.webp": image(192, 2000)}, "is 192 x 2000"),
]


@pytest.mark.parametrize(("change", "message"), VERSION_1, ids=[message for _, message in VERSION_1])
def test_malformed_version_1(tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], message: str) -> None:
    path = write_bundle(tmp_path / "bad.sog", change(sog_version_1_parts(palette_cloud(100, 1), PALETTE)))
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_same_model_as_its_ply(data_dir: Path) -> None:
    folder = data_dir / "fixtures/equivalence"
    exact = formats.read(folder / "equiv-degree3-exact-binary-le.ply")
    assert_within(exact, formats.read(folder / "equiv-degree3-exact.sog"), means=1e-5, quats=0.006)
    for version in (2, 3):
        assert_within(exact, formats.read(folder / f"equiv-degree3-exact-v{version}.spz"), quats=0.006)
    off_grid = formats.read(folder / "equiv-degree1-offgrid-binary-le.ply")
    assert_within(off_grid, formats.read(folder / "equiv-degree1-offgrid.sog"), means=4e-4, quats=0.006, opacities=0.002)
    spz = {"means": 0.5 / 4096 + 1e-6, "scales": 0.5 / 16 + 1e-6, "opacities": 0.002, "sh0": 0.014, "shN": 0.5 / 128, "quats": 0.006}
    assert_within(off_grid, formats.read(folder / "equiv-degree1-offgrid-v2.spz"), **spz)


def test_playbot_levels(data_dir: Path) -> None:
    playbot = data_dir / "scenes/playbot"
    coarse = formats.read(playbot / "6_0")
    assert (len(coarse), coarse.sh_degree) == (1873, 2)
    finest = formats.read(playbot / "0_0")
    assert (len(finest), finest.sh_degree) == (500_000, 2)
    for path in (playbot, playbot / "lod-meta.json"):
        streamed = formats.read(path)
        np.testing.assert_array_equal(streamed.means, finest.means)
    np.testing.assert_array_equal(formats.read(playbot, level=6).means, coarse.means)
    with pytest.raises(FileError, match="level 7 was asked for, field 'lodLevels' is 7"):
        formats.read(playbot, level=7)
    with pytest.raises(FileError, match="has no levels of detail"):
        formats.read(playbot / "6_0", level=1)


def lod(tmp_path: Path, **fields: object) -> Path:
    for index in range(2):
        write_folder(tmp_path / f"{index}_0", sog_parts(palette_cloud(40 + index, index)))
    leaf = {"lods": {"1": {"file": 0, "offset": 5, "count": 10}, "0": {"file": 1, "offset": 1, "count": 30}}}
    coarse_leaf = {"lods": {"2": {"file": 0, "offset": 20, "count": 20}}}
    meta = {"lodLevels": 3, "filenames": ["0_0/meta.json", "1_0/meta.json"], "tree": {"children": [leaf, coarse_leaf]}} | fields
    (tmp_path / "lod-meta.json").write_text(json.dumps(meta))
    return tmp_path


def test_each_leaf_gives_its_finest_level(tmp_path: Path) -> None:
    cloud = formats.read(lod(tmp_path))
    parts = [formats.read(tmp_path / "0_0"), formats.read(tmp_path / "1_0")]
    np.testing.assert_array_equal(cloud.means, np.concatenate([parts[0].means[20:40], parts[1].means[1:31]]))
    assert cloud.sh_degree == 1
    assert len(formats.read(lod(tmp_path, environment="0_0/meta.json"))) == 50 + 40


def test_each_leaf_gives_the_level_that_was_asked_for(tmp_path: Path) -> None:
    first = formats.read(lod(tmp_path) / "0_0")
    for level in (1, 2):  # the second leaf has only level 2; the first has no level 2, so its finer one
        expected = np.concatenate([first.means[5:15], first.means[20:40]])
        np.testing.assert_array_equal(formats.read(tmp_path, level=level).means, expected)


def test_ranges_that_overlap_count_once(tmp_path: Path) -> None:
    leaves = [{"lods": {"0": {"file": 0, "offset": start, "count": 10}}} for start in (3, 8, 30)]
    cloud = formats.read(lod(tmp_path, tree={"children": leaves}))
    first = formats.read(tmp_path / "0_0")
    np.testing.assert_array_equal(cloud.means, np.concatenate([first.means[3:18], first.means[30:40]]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"filenames": None}, "'filenames' should be a list"),
        ({"filenames": ["0_0/meta.json"]}, "names file 1"),
        ({"filenames": ["0_0/meta.json"] * 2}, "list of different SOG parts"),
        ({"filenames": ["0_0/meta.json", "0_0//meta.json"]}, "names '0_0//meta.json' twice"),
        ({"filenames": ["../../0_0/meta.json", "1_0/meta.json"]}, "expected a plain file name"),
        ({"filenames": ["/0_0/meta.json", "1_0/meta.json"]}, "expected a plain file name"),
        ({"filenames": [3, "1_0/meta.json"]}, "expected a plain file name"),
        ({"filenames": ["lod-meta.json", "1_0/meta.json"]}, "'lod-meta.json' as a part"),
        ({"tree": []}, "not an object"),
        ({"tree": {}}, "no level of detail"),
        ({"tree": {"lods": {"x": {"file": 0, "offset": 0, "count": 2}}}}, "has the levels ['x'], expected whole numbers"),
        ({"tree": {"lods": {"0": {"file": 0, "offset": 39, "count": 2}}}}, "wants Gaussians up to 41"),
        ({"tree": {"lods": {"0": {"file": 0, "offset": 1 << 70, "count": 2}}}}, "wants Gaussians up to"),
        ({"tree": {"lods": {"0": {"file": -1, "offset": 39, "count": 2}}}}, "'file' of a level in 'tree' is -1"),
    ],
)
def test_malformed_lod(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(FileError) as caught:
        formats.read(lod(tmp_path, **fields))
    assert message in str(caught.value)


MALFORMED: list[tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = [
    (lambda p: edit_meta(p, lambda m: m.__setitem__("version", 3)), "'version' is 3"),
    (lambda p: edit_meta(p, lambda m: m.pop("version")), "'means.shape' is None and field 'version' is missing"),
    (lambda p: edit_meta(p, lambda m: m.__setitem__("count", 0)), "'count' is 0"),
    (lambda p: edit_meta(p, lambda m: m.__setitem__("count", -3)), "'count' is -3"),
    (lambda p: edit_meta(p, lambda m: m.__setitem__("count", 1.5)), "'count' is 1.5"),
    (lambda p: edit_meta(p, lambda m: m.__setitem__("count", 1000)), "expected 1000 pixels"),
    (lambda p: edit_meta(p, lambda m: m.__setitem__("count", 2**31)), "claims 2147483648 Gaussians"),
    (lambda p: edit_meta(p, lambda m: m.pop("quats")), "no section 'quats'"),
    (lambda p: edit_meta(p, set_field("quats", "files", [])), "'quats.files' should name 1"),
    (lambda p: edit_meta(p, set_field("quats", "files", ["../quats.webp"])), "expected a plain file name"),
    (lambda p: edit_meta(p, set_field("quats", "files", ["C:quats.webp"])), "expected a plain file name"),
    (lambda p: edit_meta(p, set_field("quats", "files", ["gone.webp"])), "part 'gone.webp' is missing"),
    (lambda p: edit_meta(p, set_field("means", "mins", [0, 0])), "'means.mins' should be a list of 3 finite numbers"),
    (lambda p: edit_meta(p, set_field("means", "mins", [0, 0, float("nan")])), "'means.mins' should be a list of 3"),
    (lambda p: edit_meta(p, set_field("means", "maxs", [0, 0, 10**400])), "'means.maxs' should be a list of 3"),
    (lambda p: edit_meta(p, set_field("means", "maxs", [0, 0, 500])), "logarithms within -80 to 80"),
    (lambda p: edit_meta(p, set_field("scales", "codebook", [0.0] * 257)), "'scales.codebook' should be a list"),
    (lambda p: edit_meta(p, set_field("scales", "codebook", [0.0] * 10)), "'scales.codebook' is shorter"),
    (lambda p: edit_meta(p, set_field("scales", "codebook", [200.0] * 256)), "log scale of 200"),
    (lambda p: edit_meta(p, set_field("shN", "bands", 9)), "'shN.bands' is 9"),
    (lambda p: edit_meta(p, set_field("shN", "count", 3)), "the palette has 3"),
    (lambda p: edit_meta(p, set_field("shN", "count", 65536)), "expected 192 wide and at least 1024 high"),
    (lambda p: p | {"meta.json": b"{"}, "is not JSON"),
    (lambda p: p | {"meta.json": b"[" * 100_000}, "is not JSON"),
    (lambda p: p | {"meta.json": b"[]"}, "holds a list"),
    (lambda p: p | {"quats.webp": b"GIF89a"}, "'quats.webp' is not a WebP or PNG image"),
    (lambda p: p | {"quats.webp": p["quats.webp"][:60]}, "'quats.webp' cannot be decoded"),
    (lambda p: p | {"quats.webp": image(10, 10)}, "has alpha 0 for Gaussian 0"),
    (lambda p: p | {"quats.webp": image(4000, 4000)}, "is 4000 x 4000"),
    (lambda p: p | {"quats.webp": image(5, 5)}, "is 5 x 5"),
    (lambda p: p | {"quats.webp": image(10, 10, "L", "PNG")}, "is of kind L"),
]


@pytest.mark.parametrize("container", ["folder", "bundle"])
@pytest.mark.parametrize(("change", "message"), MALFORMED, ids=[message for _, message in MALFORMED])
def test_malformed(tmp_path: Path, container: str, change: Callable[[dict[str, bytes]], dict[str, bytes]], message: str) -> None:
    parts = change(sog_parts(palette_cloud(100, 1), PALETTE))
    path = write_folder(tmp_path / "bad", parts) if container == "folder" else write_bundle(tmp_path / "bad.sog", parts)
    with pytest.raises(FileError) as caught:
        formats.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.sog"
    parts = sog_parts(palette_cloud(100, 0))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in parts.items():
            bundle.writestr(name, bytes(20_000_000) if name == "quats.webp" else content)
    with pytest.raises(FileError, match=r"'quats.webp' claims 20000000 bytes, expected at most"):
        formats.read(path)


def test_damaged_zip(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "cloud.sog", sog_parts(palette_cloud(100, 0)))
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    with pytest.raises(FileError, match="not a whole ZIP file"):
        formats.read(path)
    at = content.index(b"WEBP")
    path.write_bytes(content[: at + 20] + b"\xff" + content[at + 21 :])
    with pytest.raises(FileError, match="Bad CRC-32"):
        formats.read(path)
    write_bundle(path, {"other.txt": b"hello"})
    with pytest.raises(FileError, match=r"no 'meta.json'"):
        formats.read(path)


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_bundle(tmp_path / "cloud.sog", sog_parts(palette_cloud(10, 0)))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match="pillow"):
        formats.read(path)


@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_meta_ends_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    """Replace any value of meta.json, at any depth, by something else."""
    parts = sog_parts(palette_cloud(20, 1), 20)
    node: Any = (meta := json.loads(parts["meta.json"]))
    while True:
        key = data.draw(st.sampled_from(sorted(node)) if isinstance(node, dict) else st.integers(0, len(node) - 1))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
    node[key] = data.draw(scalars | st.lists(scalars, max_size=4) | st.dictionaries(st.text(max_size=3), scalars, max_size=2))
    folder = write_folder(tmp_path / "fuzz", parts | {"meta.json": json.dumps(meta).encode()})
    assert "\n" not in refusal(folder)
