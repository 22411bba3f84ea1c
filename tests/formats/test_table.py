# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's table of formats is the registry's, and what it says is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from exgs_blender import formats
from exgs_blender.errors import FileError
from exgs_blender.formats.table import BEGIN, END, markdown_table, with_table

from ..clouds import random_gaussians
from ..conftest import ROOT
from .samples import write_samples

README = ROOT / "README.md"


def test_readme_has_the_registrys_table() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_table(README, text) == text, "run: python -m exgs_blender.formats.table README.md"


def test_every_format_is_in_it_and_says_what_it_holds() -> None:
    for kind in formats.formats():
        assert f"| {kind.title}: " in markdown_table()
        assert kind.conventions, kind.name
    assert {"ply", "compressed_ply", "spz", "sog", "splat", "ksplat", "npz", "gltf", "usd", "exgs"} == {f.name for f in formats.formats()}


def test_what_is_read(tmp_path: Path) -> None:
    """A whole file of every format that the table names (all variants: test_hostile.test_samples_are_whole)."""
    assert {formats.format_of(path).name for path in write_samples(tmp_path)} == {kind.name for kind in formats.formats()}


@pytest.mark.parametrize("kind", [f for f in formats.formats() if f.write], ids=lambda kind: kind.name)
def test_what_is_written(tmp_path: Path, kind: formats.Format) -> None:
    """With every suffix, at the highest SH degree that the table promises."""
    cloud = random_gaussians(20, kind.max_sh_degree)
    for suffix in kind.suffixes:
        path = tmp_path / (suffix if suffix.endswith(".json") else f"cloud{suffix}")
        formats.write(path, cloud)
        assert formats.format_of(path).name == kind.name
        assert formats.read(path).sh_degree == kind.max_sh_degree


def test_marks_are_needed(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no marks"):
        with_table(tmp_path, "# A README")
    assert markdown_table() in with_table(tmp_path, f"a {BEGIN} old {END} b")
