# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file formats exist. A format joins by adding one module to this folder with a ``FORMAT``."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from ..errors import ExgsError, FileError
from ..progress import Report, silent
from ..splats import Gaussians

HEAD_BYTES = 4096


class Reader(Protocol):
    def __call__(self, path: Path, *, report: Report = ...) -> Gaussians: ...


class Writer(Protocol):
    def __call__(self, path: Path, gaussians: Gaussians, *, report: Report = ...) -> None: ...


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        name: short lower-case identifier, e.g. "ply".
        title: what a user calls it.
        suffixes: lower-case, longest first, e.g. (".compressed.ply",).
        sniff: whether ``(path, head)`` is this format; ``head`` is the first 4096 bytes, empty for a folder.
        read: path -> Gaussians; raises FileError with file, field, expectation.
        write: atomic; None where the format is read-only.
        priority: formats with a higher one are asked first (a special case of another format).
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    sniff: Callable[[Path, bytes], bool]
    read: Reader
    write: Writer | None = None
    priority: int = 0


@cache
def formats() -> tuple[Format, ...]:
    """All formats, in the order in which they are asked."""
    package = importlib.import_module(__package__)
    found: list[Format] = []
    for module in pkgutil.iter_modules(package.__path__):
        declared = getattr(importlib.import_module(f"{__package__}.{module.name}"), "FORMAT", None)
        if isinstance(declared, Format):
            found.append(declared)
    return tuple(sorted(found, key=lambda f: (-f.priority, f.name)))


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format of an existing file or folder, by its content.

    Raises:
        FileError: it does not exist, is empty, or is no known kind of splat file.
    """
    path = Path(path)
    try:
        if path.is_dir():
            head = b""
        else:
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise FileError(path, "file does not exist", "Check the path") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "Check its permissions") from error
    if not path.is_dir() and not head:
        raise FileError(path, "file is empty", "Export the capture again")
    for candidate in formats():
        if candidate.sniff(path, head):
            return candidate
    known = ", ".join(sorted({s for f in formats() for s in f.suffixes}))
    raise FileError(path, "not a splat file that ExGS knows", f"Expected one of {known}")


def read(path: str | os.PathLike[str], *, report: Report = silent) -> Gaussians:
    """Read any known splat file.

    Raises:
        FileError: missing, malformed, truncated, not a splat file; in one line, with the field at fault.
        MissingDependencyError: this Python lacks a package that the format needs.
    """
    path = Path(path)
    gaussians = format_of(path).read(path, report=report)
    bad = gaussians.nonfinite_field()
    if bad:
        raise FileError(path, f"Gaussian {bad[1]} has a value in '{bad[0]}' that is not finite", "Clean the capture and export it again")
    return gaussians


def writer_for(path: str | os.PathLike[str]) -> Format:
    """The writable format whose longest suffix ends ``path``.

    Raises:
        ExgsError: no writable format has this suffix.
    """
    name = Path(path).name.lower()
    matches = [(len(s), f) for f in formats() if f.write for s in f.suffixes if name.endswith(s)]
    if not matches:
        known = ", ".join(sorted({s for f in formats() if f.write for s in f.suffixes}))
        raise ExgsError(f"{path}: no format with this suffix can be written; use one of {known}")
    return max(matches, key=lambda match: match[0])[1]


def write(path: str | os.PathLike[str], gaussians: Gaussians, *, report: Report = silent) -> None:
    """Write a cloud in the format that the suffix names; nothing half-written stays on failure."""
    chosen = writer_for(path)
    assert chosen.write is not None
    chosen.write(Path(path), gaussians, report=report)
