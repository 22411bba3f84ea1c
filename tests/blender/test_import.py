# SPDX-License-Identifier: GPL-3.0-or-later
"""Import of every readable format; options and native splats are in test_operators.py, edits in test_edits.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from exgs_blender import formats
from tests.formats.samples import write_samples

from .harness import RunInBlender

pytestmark = pytest.mark.blender


def test_every_format(blender: RunInBlender, worker_environment: dict[str, str], tmp_path: Path) -> None:
    """PLY dialects (ReshotAI #42, #15, #44), compressed formats (KIRI #63, spz #60)."""
    files = write_samples(tmp_path / "samples")
    expected = {path.name: len(formats.read(path)) for path in files}
    found = blender("import_formats", environment=worker_environment, files=[str(path) for path in files])
    assert found["counts"] == expected, found["lines"]
