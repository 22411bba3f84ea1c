# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests that run inside Blender."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path

import pytest

from .harness import RunInBlender, pythons, run_script


@pytest.fixture(params=pythons())
def blender(request: pytest.FixtureRequest, tmp_path: Path) -> RunInBlender:
    """``blender(script, **request)``: run a script inside one of the Blenders."""
    return functools.partial(run_script, request.param, folder=tmp_path)


@pytest.fixture(scope="session")
def worker_environment() -> dict[str, str]:
    """Environment variables that name a worker's Python: $EXGS_PYTHON, or this Python if it has torch."""
    named = os.environ.get("EXGS_PYTHON")
    if not named and importlib.util.find_spec("torch") is None:
        pytest.skip("no worker: this Python has no torch and EXGS_PYTHON is not set")
    return {"EXGS_PYTHON": named or sys.executable}
