# SPDX-License-Identifier: GPL-3.0-or-later
"""Every readable format through the import operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    stage.start()
    counts, lines = {}, {}
    for path in map(Path, request["files"]):
        before = set(bpy.data.objects)
        line = stage.one_line(lambda path=path: bpy.ops.exgs.import_splats(filepath=str(path)))
        new = set(bpy.data.objects) - before
        if line:
            lines[path.name] = line
        counts[path.name] = sum(len(obj.data.attributes["position"].data) for obj in new)
    return {
        "counts": counts,
        "lines": lines,
    }
