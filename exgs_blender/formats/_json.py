# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON out of splat files: small objects, whatever a file claims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import FileError
from ._files import DAMAGED

MAX_ITEMS = 1 << 19
"""Values in one document. A hostile one costs about 300 bytes of memory for each, however small the file."""


def read_json(path: Path, what: str, data: bytes) -> dict[str, Any]:
    """A JSON object.

    Args:
        path: the file at fault.
        what: the part of it that holds the JSON.
        data: UTF-8.

    Raises:
        FileError: not JSON, not an object, nested too deeply, or of absurd size.
    """
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_ITEMS:
        raise FileError(path, f"{what} holds more than {MAX_ITEMS} values", DAMAGED)
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FileError(path, f"{what} is not JSON ({str(error)[:120]})", DAMAGED) from error
    if not isinstance(parsed, dict):
        raise FileError(path, f"{what} holds a {type(parsed).__name__}, expected a JSON object", "Choose another file")
    return parsed
