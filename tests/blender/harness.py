# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs scripts inside Blender, in processes of their own, in every Python that holds a bpy."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "EXGS_BLENDER_PYTHONS"
CHILD = Path(__file__).with_name("child.py")
TIMEOUT_SECONDS = 300

RunInBlender = Callable[..., dict[str, Any]]


def pythons() -> list[Any]:
    """This Python if it has bpy, and those that the variable names, as pytest parameters."""
    here = importlib.util.find_spec("bpy") is not None
    named = [p for p in os.environ.get(VARIABLE, "").split(os.pathsep) if p]
    marks = [] if here else [pytest.mark.skip(reason="this Python has no bpy")]
    found = [pytest.param(sys.executable, id="bpy-here", marks=marks)]
    if not named:
        reason = f"{VARIABLE} names no other Python with bpy"
        return [*found, pytest.param("", id="bpy-elsewhere", marks=[pytest.mark.skip(reason=reason)])]
    return found + [pytest.param(p, id=f"bpy-elsewhere{i or ''}") for i, p in enumerate(named)]


def run_script(python: str, script: str, folder: Path, *, environment: dict[str, str] | None = None, **request: Any) -> dict[str, Any]:
    """Run ``scripts/<script>.py`` and return its result; its output is shown where it fails.

    The result has the key ``output`` added: what the process printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    request_file = folder / f"{script}-request.json"
    request |= {"folder": str(folder), "result": str(folder / f"{script}-result.json")}
    request_file.write_text(json.dumps(request), encoding="utf-8")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    resources = folder / "blender-user"
    resources.mkdir(exist_ok=True)
    variables = {**os.environ, **threads, "BLENDER_USER_RESOURCES": str(resources), **(environment or {})}
    log = folder / f"{script}.log"
    with log.open("w") as out:
        command = [python, "-I", "-X", "faulthandler", str(CHILD), script, str(request_file)]
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=variables, timeout=TIMEOUT_SECONDS, check=False).returncode
    text = log.read_text(errors="replace")
    assert code == 0, f"{script} in {python} ended with {code}:\n{text[-6000:]}"
    return {**json.loads(Path(request["result"]).read_text(encoding="utf-8")), "output": text}
