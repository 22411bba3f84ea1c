# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that cannot be read, in one line that says why not and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import FileError

DAMAGED = "The file is damaged; export the capture again"
TRUNCATED = "The download or copy is incomplete; copy the file again"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What goes wrong with the system's files in here is said about ``path``.

    Raises:
        FileError: it does not exist or cannot be read.
    """
    try:
        yield
    except FileNotFoundError:
        raise FileError(path, "file does not exist", "Check the path") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "Check its permissions") from error


def read_bytes(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        FileError: it does not exist or cannot be read.
    """
    with reading(path):
        return path.read_bytes()
