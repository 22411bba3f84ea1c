# SPDX-License-Identifier: GPL-3.0-or-later
"""Real wheels, made here: what the installer's tests install."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path


def make_wheel(folder: Path, name: str, version: str = "1.0", code: str = "", requires: tuple[str, ...] = ()) -> Path:
    """A pure-Python wheel with one module of the package's name."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {other}\n" for other in requires)
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in files.items()) + f"{info}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    return wheel


def make_bundle(folder: Path, **code: str) -> tuple[Path, Path]:
    """(bundle of wheels, lock list that names them); the keywords are the packages and the code of their modules."""
    for name, text in code.items():
        make_wheel(folder / "bundle", name, code=text)
    lock = folder / "test.lock"
    lock.write_text("# a list\n" + "".join(f"{name}==1.0  # import {name}\n" for name in code), encoding="utf-8")
    return folder / "bundle", lock


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
