# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the parts of a SOG capture lie (a folder or a ZIP bundle), and its texture images."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError, MissingDependencyError
from ._files import DAMAGED, TRUNCATED, reading
from ._limits import shown

META = "meta.json"
MAX_META_BYTES = 16 << 20
BYTES_PER_PIXEL = 8
"""A lossless image of 8-bit RGBA never takes more than this (incompressible data takes a little above 4)."""
MAX_IMAGE_BYTES = 256 << 20
SPARE_PIXELS = 1 << 16
"""Textures are rounded up to whole rows; small ones may be padded up to this many pixels."""


class Source(Protocol):
    """Named parts of one capture, all in one place."""

    @property
    def path(self) -> Path: ...

    def size(self, name: str) -> int:
        """Bytes that the part takes where it lies."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """The part's content; FileError where it is missing or has more than ``limit`` bytes."""
        ...


def plain_name(path: Path, name: object, where: str = "meta.json") -> str:
    """A file name out of a file (a field of ``where``) that stays in its folder.

    Raises:
        FileError: it is no string, or has a path in it.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or any(c in name for c in '/\\:\0"<>|?*'):
        raise FileError(path, f"{where} names the file {shown(name)}, expected a plain file name without a folder", DAMAGED)
    return name


class FolderSource:
    """Parts that lie beside ``meta.json``."""

    def __init__(self, folder: Path, meta_name: str = META) -> None:
        self.path = folder
        self.meta_name = meta_name

    def _member(self, name: str) -> Path:
        member = self.path / (self.meta_name if name == META else name)
        if not member.is_file():
            raise FileError(self.path, f"part '{member.name}' is missing", "Copy the whole folder")
        return member

    def size(self, name: str) -> int:
        return self._member(name).stat().st_size

    def read(self, name: str, limit: int) -> bytes:
        member = self._member(name)
        with reading(member), member.open("rb") as file:
            data = file.read(limit + 1)
        return _within(self.path, name, data, limit)


class BundleSource:
    """Parts in a ZIP file (``.sog``), at its root or in one folder in it. Members are read by name, never extracted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise FileError(path, f"not a whole ZIP file ({error})", TRUNCATED) from error
        self._prefix = self._find_prefix()

    def __enter__(self) -> BundleSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._zip.close()

    def _find_prefix(self) -> str:
        names = self._zip.namelist()
        if META in names:
            return ""
        nested = [name for name in names if name.endswith("/" + META) and name.count("/") == 1 and not name.startswith("__MACOSX")]
        if len(nested) != 1:
            self._zip.close()
            raise FileError(self.path, "ZIP file has no 'meta.json', expected a SOG bundle", "Choose a .sog file")
        return nested[0][: -len(META)]

    def _info(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._zip.getinfo(self._prefix + name)
        except KeyError:
            raise FileError(self.path, f"part '{name}' is missing in the ZIP file", "Export the capture again") from None

    def size(self, name: str) -> int:
        info = self._info(name)
        return min(info.compress_size, info.file_size)

    def read(self, name: str, limit: int) -> bytes:
        info = self._info(name)
        if info.file_size > limit:
            raise FileError(self.path, f"part '{name}' claims {info.file_size} bytes, expected at most {limit}", DAMAGED)
        try:
            with self._zip.open(info) as member:
                data = member.read(limit + 1)
        except (OSError, EOFError, RuntimeError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise FileError(self.path, f"part '{name}' cannot be unpacked ({error})", DAMAGED) from error
        return _within(self.path, name, data, limit)


def _within(path: Path, name: str, data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise FileError(path, f"part '{name}' is larger than the expected {limit} bytes", DAMAGED)
    return data


def image_size(source: Source, name: str) -> tuple[int, int]:
    """(width, height) of a texture, from its header.

    Raises:
        FileError: missing, or no WebP or PNG image.
        MissingDependencyError: Pillow is not in this Python.
    """
    with _opened(source, name, MAX_IMAGE_BYTES) as image:
        width, height = image.size
        return int(width), int(height)


def read_pixels(source: Source, name: str, pixels: int, shape: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """One texture -> [pixels, 4] RGBA, row-major from the top left.

    Args:
        source: where it lies.
        name: plain file name.
        pixels: how many are needed; the image may hold a few more, for its last row.
        shape: exact (width, smallest height) where the layout depends on them.

    Raises:
        FileError: missing, no WebP or PNG image, of another size than the count asks for.
        MissingDependencyError: Pillow is not in this Python.
    """
    most = 2 * pixels + SPARE_PIXELS
    with _opened(source, name, BYTES_PER_PIXEL * most + 4096) as image:
        width, height = image.size
        _check_size(source.path, name, image.size, (pixels, most), shape)
        if image.mode not in ("RGB", "RGBA"):
            raise FileError(source.path, f"image '{name}' is of kind {image.mode}, expected 8-bit RGB or RGBA", "Export it again")
        rgba = np.asarray(image.convert("RGBA"))
    return rgba.reshape(width * height, 4)[:pixels]


@contextmanager
def _opened(source: Source, name: str, limit: int) -> Iterator[Any]:
    """A Pillow image; what goes wrong with it becomes a FileError."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingDependencyError("pillow", "reading SOG captures") from None
    data = source.read(name, limit)
    try:
        with Image.open(io.BytesIO(data), formats=("WEBP", "PNG")) as image:
            yield image
    except UnidentifiedImageError:
        raise FileError(source.path, f"part '{name}' is not a WebP or PNG image", DAMAGED) from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise FileError(source.path, f"image '{name}' cannot be decoded ({error})", DAMAGED) from error


def _check_size(path: Path, name: str, size: tuple[int, int], pixels: tuple[int, int], shape: tuple[int, int] | None) -> None:
    width, height = size
    found = f"image '{name}' is {width} x {height}"
    if shape is not None and (width != shape[0] or height < shape[1]):
        raise FileError(path, f"{found}, expected {shape[0]} wide and at least {shape[1]} high", "Export the capture again")
    if not pixels[0] <= width * height <= pixels[1]:
        raise FileError(path, f"{found}, expected {pixels[0]} pixels in whole rows", "Its count and its images do not fit; export it again")


def finite_numbers(path: Path, field: str, value: object, least: int, most: int) -> NDArray[np.float64]:
    """A list of ``least`` to ``most`` finite numbers from JSON -> [n].

    Raises:
        FileError: anything else stands there.
    """
    numbers = value if isinstance(value, list) else []
    good = all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 3e38 and math.isfinite(n) for n in numbers)
    if not good or not least <= len(numbers) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise FileError(path, f"meta.json field '{field}' should be a list of {wanted} finite numbers", DAMAGED)
    return np.array(numbers, np.float64)
