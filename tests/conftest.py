# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exgs_blender.threads import sleep_while_waiting

sleep_while_waiting()
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real captures and malformed fixtures; the test is skipped where it is absent."""
    folder = Path(os.environ.get("EXGS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data: EXGS_DATA or {folder} is not a folder")
    return folder
