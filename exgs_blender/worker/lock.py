# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions that the worker's environment is made of, and what installing them costs. Standard library only."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import FileError

LOCK = Path(__file__).with_name("environment.lock")
Device = Literal["cpu", "cuda", "mps"]
_LINE = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[\w.+!-]+)\s*(?:#\s*(?P<notes>.*))?")


@dataclass(frozen=True)
class Pin:
    """One package; ``module`` is what the check imports, empty for none; ``only`` the device that needs it, empty for all."""

    name: str
    version: str
    module: str = ""
    only: str = ""


@dataclass(frozen=True)
class Cost:
    """Megabytes to download and on the disk when all is done."""

    download: int
    disk: int

    def __str__(self) -> str:
        return f"{_amount(self.download)} to download, {_amount(self.disk)} on the disk"


# The pinned versions for Python 3.11: wheels downloaded and unpacked in November 2026; Linux without CUDA installed for real.
LINUX_CPU, LINUX = Cost(330, 1550), Cost(2900, 5900)
WINDOWS, MAC = Cost(230, 900), Cost(230, 1100)


def read_lock(path: Path, device: Device) -> tuple[Pin, ...]:
    """The packages for a device.

    Raises:
        FileError: missing, or a line that names no version.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FileError(path, f"the list of packages cannot be read ({error.strerror})", "Install the add-on again") from error
    pins = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise FileError(path, f"line {number}: '{text[:80]}', expected NAME==VERSION", "Install the add-on again")
        notes = dict(note.strip().partition(" ")[::2] for note in (found["notes"] or "").split(",") if note.strip())
        pins.append(Pin(found["name"], found["version"], notes.get("import", ""), notes.get("only", "")))
    return tuple(pin for pin in pins if pin.only in ("", device) and (pin.only != "cuda" or has_cuda_toolkit()))


def requirements(pins: tuple[Pin, ...]) -> str:
    """The packages as pip reads them."""
    return "".join(f"{pin.name}=={pin.version}\n" for pin in pins)


def fingerprint(pins: tuple[Pin, ...]) -> str:
    """Tells one set of versions from another."""
    return hashlib.sha256(requirements(pins).encode()).hexdigest()[:16]


def likely_device() -> Device:
    """What this machine most likely has: NVIDIA's tools tell of their driver."""
    if sys.platform == "darwin":
        return "mps"
    return "cuda" if shutil.which("nvidia-smi") else "cpu"


def has_cuda_toolkit() -> bool:
    """Whether NVIDIA's compiler is there. gsplat builds its kernels with it; without it gsplat is not installed, as it could not run."""
    named = [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH")]
    return bool(shutil.which("nvcc")) or any(folder and (Path(folder) / "bin").is_dir() for folder in named)


def cost(device: Device, own_torch: bool) -> Cost:
    """What an installation costs here.

    Args:
        own_torch: a bundle or another package index may have a torch without CUDA. The usual index has none for Linux: there the
            CPU's torch comes with NVIDIA's libraries.
    """
    if sys.platform == "darwin":
        return MAC
    if sys.platform == "win32":
        return WINDOWS
    return LINUX_CPU if device == "cpu" and own_torch else LINUX


def _amount(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes} MB"
