# SPDX-License-Identifier: GPL-3.0-or-later
"""Import of every readable format, and what Blender's own tools make of the result."""

from __future__ import annotations

from pathlib import Path

import pytest

from exgs_blender import formats
from exgs_blender.formats.registry import readable_suffixes
from tests.clouds import random_gaussians
from tests.formats.samples import write_samples

from .harness import RunInBlender

pytestmark = pytest.mark.blender


def test_every_format_options_and_edits(blender: RunInBlender, worker_environment: dict[str, str], tmp_path: Path) -> None:
    """PLY dialects (ReshotAI #42, #15, #44), compressed formats (KIRI #63, spz #60), edits kept (KIRI #38, #12, #49)."""
    files = write_samples(tmp_path / "samples")
    expected = {path.name: len(formats.read(path)) for path in files}
    capture = tmp_path / "capture.ply"
    formats.write(capture, random_gaussians(200, 1))
    found = blender("import_formats", environment=worker_environment, files=[str(path) for path in files], capture=str(capture))
    assert found["counts"] == expected, found["lines"]
    assert {Path(f"x{suffix}").suffix for suffix in readable_suffixes()} == set(found["dropped"])
    assert found["operator"] == "exgs.import_splats"
    options = found["options"]
    assert options["scale"] == [2.5] * 3
    assert 0 < options["kept"] == options["opaque"] < 200
    assert options["least"] >= 0.4999
    assert found["native"] == {"is splat": True, "compress polls": True, "sh": [0, 1, 2], "count": 4}
    copies = found["duplicate"]
    assert copies["copy"] == 9
    assert copies["original"] != 9
    assert copies["props"]
    joined = found["joined"]
    assert joined["refused"] == ""
    assert joined["moved"] < 1e-4
    assert joined["sh"] == 0
