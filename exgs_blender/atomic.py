# SPDX-License-Identifier: GPL-3.0-or-later
"""Files appear under their final name only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FileError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; rename it over ``path`` on success, delete it on failure.

    The temporary name keeps the suffix (some writers choose the format by it) and names the process,
    so that two writers never share one and a killed one leaves an obvious ``.name.PID.part.ext``.

    Raises:
        FileError: the folder does not exist or cannot be written.
    """
    final = Path(path)
    part = final.with_name(f".{final.stem}.{os.getpid()}.part{final.suffix}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise FileError(final, f"cannot be written ({error.strerror})", "Choose a folder that you may write to") from error
    try:
        yield part
        os.replace(part, final)
    except OSError as error:
        raise FileError(final, f"cannot be written ({error.strerror})", "Check free space and permissions") from error
    finally:
        part.unlink(missing_ok=True)
