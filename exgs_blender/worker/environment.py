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
from typing import Literal

from ..errors import ExgsError

ENVIRONMENT_VARIABLE = "EXGS_PYTHON"
REQUIRED = ("numpy", "plyfile", "numba", "torch", "diffusers", "safetensors", "OpenEXR", "PIL", "zstandard")
OPTIONAL = ("gsplat", "bpy", "pxr")
STAMP = "exgs-environment.json"
"""Written into an environment of ours when it is whole and was tried."""
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


EnvironmentState = Literal["absent", "interrupted", "broken", "outdated", "ready"]


def state_of(folder: Path, wanted: str = "") -> EnvironmentState:
    """What an environment of ours is.

    Args:
        wanted: the fingerprint of the packages that this version of ExGS was tried with; not compared where it is empty.

    "interrupted" is not whole yet; "broken" has lost its Python (the Blender that it was made with is gone); "outdated" works
    but has other versions.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return "absent"
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "interrupted"
    if not python_in(folder).is_file():
        return "broken"
    return "outdated" if wanted and stamp.get("lock") != wanted else "ready"


_REFUSALS = {
    "absent": "the ExGS worker is not installed",
    "interrupted": "the installation of the ExGS worker is not finished",
    "broken": "the Blender that the ExGS worker was installed with is gone, and its Python with it",
}
INSTALL_HINT = (
    "install it in Blender (Edit > Preferences > Add-ons > ExGS), run 'python3.11 run.py setup' in the ExGS folder, "
    "or name a Python that has torch as 'Worker Python'"
)


def worker_python(preferred: str = "", own: Path | None = None) -> Path:
    """The interpreter that runs the worker: the preferred one, else $EXGS_PYTHON, else that of our own environment.

    Args:
        preferred: from the add-on's preferences.
        own: the folder of our own environment, ``default_folder()`` by default.

    Raises:
        ExgsError: there is none; says what to do.
    """
    for origin, value in (("the preference 'Worker Python'", preferred), (f"the variable {ENVIRONMENT_VARIABLE}", _from_environment())):
        if value:
            if Path(value).is_file():
                return Path(value)
            raise ExgsError(f"{origin} names {value}, which is not a file; correct it")
    folder = own or default_folder()
    state = state_of(folder)
    if state in _REFUSALS:
        raise ExgsError(f"{_REFUSALS[state]} ({folder}); {INSTALL_HINT}")
    return python_in(folder)


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
