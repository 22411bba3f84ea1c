# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file formats exist. A format joins by adding one module to this folder with a ``FORMAT``."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from ..errors import ExgsError, FileError
from ..progress import Report, silent
from ..splats import MAX_SH_DEGREE, Gaussians
from ._files import reading
from ._limits import check_finite

HEAD_BYTES = 4096


class Reader(Protocol):
    """May take the options that its ``Format`` names as well."""

    def __call__(self, path: Path, *, report: Report = ...) -> Gaussians: ...


class Writer(Protocol):
    """May take the options that its ``Format`` names as well."""

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
        read_suffixes: of files that are only read, e.g. (".usdz",).
        priority: formats with a higher one are asked first (a special case of another format).
        variants: which versions and dialects are read, for the README's table.
        conventions: the file's axes, units and quaternion order where they differ from ``Gaussians``, for the same table.
        max_sh_degree: what the format can hold; writing more is refused, as view-dependent colour is dropped only when asked.
        read_options, write_options: names of the keyword arguments that ``read`` and ``write`` take beside the usual ones.
        checks_values: ``read`` itself refuses values that are not finite, so that nobody looks at them a second time.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    sniff: Callable[[Path, bytes], bool]
    read: Reader
    write: Writer | None = None
    priority: int = 0
    read_suffixes: tuple[str, ...] = ()
    variants: str = ""
    conventions: str = ""
    max_sh_degree: int = MAX_SH_DEGREE
    read_options: frozenset[str] = field(default_factory=frozenset)
    write_options: frozenset[str] = field(default_factory=frozenset)
    checks_values: bool = False


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


def readable_suffixes() -> list[str]:
    """Of all files that can be read."""
    return sorted({s for f in formats() for s in (*f.suffixes, *f.read_suffixes)})


def writable_suffixes() -> list[str]:
    """Of all files that can be written."""
    return sorted({s for f in formats() if f.write for s in f.suffixes})


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format of an existing file or folder, by its content.

    Raises:
        FileError: it does not exist, is empty, or is no known kind of splat file.
    """
    path = Path(path)
    head = b""
    if not path.is_dir():
        with reading(path), path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    if not path.is_dir() and not head:
        raise FileError(path, "file is empty", "Export the capture again")
    for candidate in formats():
        if candidate.sniff(path, head):
            return candidate
    known = ", ".join(readable_suffixes())
    raise FileError(path, "not a splat file that ExGS knows", f"Expected one of {known}")


def read(path: str | os.PathLike[str], *, report: Report = silent, **options: Any) -> Gaussians:
    """Read any known splat file.

    Args:
        path: the file or folder.
        report: progress.
        options: what the format's reader offers beside, e.g. ``level=1`` for a capture with levels of detail.

    Raises:
        FileError: missing, malformed, truncated, not a splat file; in one line, with the field at fault.
        ExgsError: the format has no such option.
        MissingDependencyError: this Python lacks a package that the format needs.
    """
    path = Path(path)
    chosen = format_of(path)
    _check_options(path, chosen, options, chosen.read_options)
    gaussians = chosen.read(path, report=report, **options)
    if not chosen.checks_values:
        check_finite(path, gaussians)
    return gaussians


def _check_options(path: Path, chosen: Format, options: dict[str, Any], known: frozenset[str]) -> None:
    for name in options:
        if name not in known:
            raise ExgsError(f"{path}: {chosen.title} has no option '{name}'" + (f"; it has {', '.join(sorted(known))}" if known else ""))


def writer_for(path: str | os.PathLike[str], **options: Any) -> Format:
    """The writable format whose longest suffix ends ``path``.

    Raises:
        ExgsError: no writable format has this suffix, or it has no such option.
    """
    name = Path(path).name.lower()
    matches = [(len(s), f) for f in formats() if f.write for s in f.suffixes if name.endswith(s)]
    if not matches:
        raise ExgsError(f"{path}: no format with this suffix can be written; use one of {', '.join(writable_suffixes())}")
    chosen = max(matches, key=lambda match: match[0])[1]
    _check_options(Path(path), chosen, options, chosen.write_options)
    return chosen


def write(path: str | os.PathLike[str], gaussians: Gaussians, *, report: Report = silent, **options: Any) -> None:
    """Write a cloud in the format that the suffix names; nothing half-written stays on failure.

    Args:
        path: ends in one of the suffixes of a writable format.
        gaussians: at least one.
        report: progress.
        options: what the format's writer offers beside, e.g. ``version=4`` for SPZ.

    Raises:
        ExgsError: no such format or option, no Gaussians, or more SH bands than the format holds.
        FileError: the file cannot be written.
        MissingDependencyError: this Python lacks a package that the format needs.
    """
    chosen = writer_for(path, **options)
    assert chosen.write is not None
    if len(gaussians) == 0:
        raise ExgsError(f"{path}: there are no Gaussians to write")
    if gaussians.sh_degree > chosen.max_sh_degree:
        raise ExgsError(
            f"{path}: {chosen.title} holds SH degree {chosen.max_sh_degree}, the capture has {gaussians.sh_degree}; "
            f"drop the higher bands (--sh-degree {chosen.max_sh_degree}) or choose another format"
        )
    chosen.write(Path(path), gaussians, report=report, **options)
