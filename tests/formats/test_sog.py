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
from exgs_blender.errors import FileError, MissingDependencyError
from exgs_blender.splats import Gaussians

from ..clouds import random_gaussians
from .compare import assert_within, refusal
from .encoders import sog_parts, write_bundle, write_folder

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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"filenames": None}, "'filenames' should be a list"),
        ({"filenames": ["0_0/meta.json"]}, "names file 1"),
        ({"filenames": ["0_0/meta.json"] * 2}, "list of different SOG parts"),
        ({"filenames": ["../../0_0/meta.json", "1_0/meta.json"]}, "expected a plain file name"),
        ({"filenames": ["/0_0/meta.json", "1_0/meta.json"]}, "expected a plain file name"),
        ({"filenames": [3, "1_0/meta.json"]}, "expected a plain file name"),
        ({"filenames": ["lod-meta.json", "1_0/meta.json"]}, "'lod-meta.json' as a part"),
        ({"tree": []}, "not an object"),
        ({"tree": {}}, "no level of detail"),
        ({"tree": {"lods": {"0": {"file": 0, "offset": 39, "count": 2}}}}, "wants Gaussians up to 41"),
        ({"tree": {"lods": {"0": {"file": -1, "offset": 39, "count": 2}}}}, "'file' of a level in 'tree' is -1"),
    ],
)
def test_malformed_lod(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(FileError) as caught:
        formats.read(lod(tmp_path, **fields))
    assert message in str(caught.value)


def set_field(section: str, key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda meta: meta[section].__setitem__(key, value)


MALFORMED: list[tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = [
    (lambda p: edit_meta(p, lambda m: m.__setitem__("version", 3)), "'version' is 3"),
    (lambda p: edit_meta(p, lambda m: m.pop("version")), "'version' is None"),
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
