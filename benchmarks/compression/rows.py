# SPDX-License-Identifier: GPL-3.0-or-later
"""One measured file, and where measured ones are kept between runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from exgs_blender.atomic import atomic_path

from .scenes import ROOT, WORK

PACKAGE = ROOT / "exgs_blender"


@dataclass(frozen=True)
class Row:
    """What a method made of a scene.

    Attributes:
        ratio_wanted: what was asked for; None for methods without a choice.
        file: what was written, beside the other results; empty where there is none, and ``note`` says why.
        bytes: of the file (of the cloud as a PLY where nothing was coded).
        kept: Gaussians in it.
        encode_seconds: from the start of the process to its end, start-up included.
        decode_seconds: best of three readings into arrays by this project's readers.
        peak_bytes: largest memory of the encoding process.
        stages: seconds by stage, where the method tells.
        sections: bytes by section, where the file has them.
        note: what the table should say beside the numbers.
    """

    scene: str
    method: str
    ratio_wanted: float | None
    file: str = ""
    bytes: int = 0
    ratio: float = 0.0
    kept: int = 0
    psnr: float = 0.0
    worst_psnr: float = 0.0
    ssim: float = 0.0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    peak_bytes: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    sections: dict[str, int] = field(default_factory=dict)
    note: str = ""

    @property
    def label(self) -> str:
        """The method with its ratio, for file names and headings."""
        return self.method if self.ratio_wanted is None else f"{self.method} {self.ratio_wanted:g}x"


def stored(key: str) -> Row | None:
    """The row that an earlier run left under a key."""
    path = _path(key)
    if not path.is_file():
        return None
    row = Row(**json.loads(path.read_text(encoding="utf-8")))
    return row if not row.file or Path(row.file).exists() else None


def store(key: str, row: Row) -> None:
    """Keep a row for later runs."""
    with atomic_path(_path(key)) as part:
        part.write_text(json.dumps(asdict(row), indent=1), encoding="utf-8")


def key_of(code: Iterable[str], *parts: Any) -> str:
    """A name for a result: the scene, the method and its arguments, and the code (folders or files of the package) that makes it."""
    text = json.dumps([[code_hash(name) for name in code], *map(str, parts)])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@cache
def code_hash(name: str) -> str:
    """Of a Python file or all of a folder's, below the package."""
    path = PACKAGE / name
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _path(key: str) -> Path:
    return WORK / "rows" / f"{key}.json"
