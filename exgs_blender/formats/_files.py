# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes of a file, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

from ..errors import FileError


def read_bytes(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        FileError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "Check its permissions") from error
