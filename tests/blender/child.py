# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one script of ``tests/blender/scripts`` in a Python that has bpy: ``python -I child.py SCRIPT REQUEST.json``.

Blender may hang or crash when an interpreter with registered handlers ends, so the process leaves by ``os._exit``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Call the script's ``run(request)`` and write what it returns to the request's ``result`` file."""
    sys.path.insert(0, str(ROOT))
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    try:
        result = importlib.import_module(f"tests.blender.scripts.{sys.argv[1]}").run(request)
    except BaseException:
        traceback.print_exc()
        return 1
    Path(request["result"]).write_text(json.dumps(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
