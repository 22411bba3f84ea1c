# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the worker's Python is and what it can do. Standard library only."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import ExgsError

ENVIRONMENT_VARIABLE = "EXGS_PYTHON"
REQUIRED = ("numpy", "plyfile", "numba", "torch", "diffusers", "safetensors", "OpenEXR", "PIL", "zstandard")
OPTIONAL = ("gsplat", "bpy", "pxr")
_DISTRIBUTIONS = {"pxr": "usd-core", "PIL": "pillow"}


@dataclass(frozen=True)
class Package:
    """One package of the worker's environment; ``version`` is empty where it is missing."""

    name: str
    version: str
    required: bool


@dataclass(frozen=True)
class Health:
    """What ``exgs doctor`` prints."""

    python: str
    platform: str
    cpu_count: int
    packages: tuple[Package, ...]
    cuda: str
    """Name of the CUDA device, or why there is none."""

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.packages if p.required and not p.version)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def default_folder() -> Path:
    """The folder of the environment that ExGS makes for itself, in the user's data directory."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return base / "exgs" / "worker"


def python_in(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def worker_python(preferred: str = "") -> Path:
    """The interpreter that runs the worker: the preferred one, else $EXGS_PYTHON, else the default environment's.

    Raises:
        ExgsError: there is none; says what to do.
    """
    for origin, value in (("the preference 'Worker Python'", preferred), (f"the variable {ENVIRONMENT_VARIABLE}", _from_environment())):
        if value:
            if Path(value).is_file():
                return Path(value)
            raise ExgsError(f"{origin} names {value}, which is not a file; correct it")
    default = python_in(default_folder())
    if default.is_file():
        return default
    raise ExgsError(
        f"the ExGS worker is not installed (no Python at {default}); run 'python run.py setup' from the ExGS folder, "
        "or name a Python that has torch in the add-on's preferences"
    )


def _from_environment() -> str:
    return os.environ.get(ENVIRONMENT_VARIABLE, "")


def examine() -> Health:
    """Look at *this* interpreter. Imports torch only if it is installed."""
    packages = [_package(name, True) for name in REQUIRED] + [_package(name, False) for name in OPTIONAL]
    return Health(
        python=f"{platform.python_version()} ({sys.executable})",
        platform=platform.platform(),
        cpu_count=os.cpu_count() or 1,
        packages=tuple(packages),
        cuda=_cuda(),
    )


def _package(name: str, required: bool) -> Package:
    if importlib.util.find_spec(name) is None:
        return Package(name, "", required)
    try:
        version = importlib.metadata.version(_DISTRIBUTIONS.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return Package(name, version, required)


def _cuda() -> str:
    """Asked in a child process: this module must not import torch, and a broken driver may crash it."""
    code = "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'none: torch sees no CUDA device')"
    if importlib.util.find_spec("torch") is None:
        return "none: torch is not installed"
    try:
        done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"none: {error}"
    return done.stdout.strip() or f"none: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'torch failed to start'}"
