# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks inside Blender share: where to find bpy, how to leave it, where the numbers go."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent


def pythons() -> list[str]:
    """This Python if it holds bpy, and those that EXGS_BLENDER_PYTHONS names."""
    here = [sys.executable] if importlib.util.find_spec("bpy") else []
    named = [python for python in os.environ.get("EXGS_BLENDER_PYTHONS", "").split(os.pathsep) if python]
    if not here + named:
        raise SystemExit("no Python with bpy: install bpy here, or name one in EXGS_BLENDER_PYTHONS")
    return here + named


def leave(result: dict[str, Any]) -> NoReturn:
    """Print the result as the last line and end the process, which Blender may not survive in the ordinary way."""
    print("\n" + json.dumps(result), flush=True)
    os._exit(0)


def record(name: str, numbers: dict[str, Any], *, recorded: bool) -> None:
    """Write a JSON file with the machine's name for itself beside the numbers."""
    folder = HERE / ("results" if recorded else "out")
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"machine": f"{platform.machine()}, {os.cpu_count()} cores", **numbers}, indent=1) + "\n", encoding="utf-8")
    print(path)
