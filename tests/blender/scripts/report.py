# SPDX-License-Identifier: GPL-3.0-or-later
"""The quality report of a compression: what the objects remember of it, and the way to its page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import bpy

from exgs_blender.blender.job_runner import RUNNER
from exgs_blender.blender.panel_compress import headline_pieces

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    stage.start()
    bpy.ops.exgs.import_splats(filepath=stage.write_capture(request["folder"]), up="Z_UP")
    original = bpy.context.object
    before = {"polls": bpy.ops.exgs.open_report.poll(), "headline": original.exgs.headline}
    bpy.ops.exgs.compress(filepath=str(folder / "my asset.exgs"), ratio=20, replace_original=True, views="EVERYWHERE")
    task = RUNNER.running[-1]
    RUNNER.wait(task)
    compressed = bpy.context.object
    result: dict[str, Any] = {
        "before": before,
        "state": task.state,
        "message": task.message,
        "objects": {obj.name: [obj.exgs.headline, obj.exgs.report_path] for obj in (original, compressed)},
        "pieces": headline_pieces(compressed.exgs.headline),
        "opened": _opened(folder),
    }
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "saved.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(folder / "saved.blend"))
    bpy.context.view_layer.objects.active = bpy.data.objects[next(iter(result["objects"]))]
    result["after loading"] = bpy.context.object.exgs.headline
    Path(bpy.context.object.exgs.report_path).unlink()
    result["gone"] = stage.one_line(lambda: bpy.ops.exgs.open_report())
    return result


def _opened(folder: Path) -> str:
    """The address that the operator hands to the browser, which is a script of ours."""
    note = folder / "opened.txt"
    browser = folder / "browser.py"
    browser.write_text(f"import pathlib, sys\npathlib.Path({str(note)!r}).write_text(sys.argv[1])\n")
    os.environ["BROWSER"] = f"{sys.executable} {browser} %s"
    bpy.ops.exgs.open_report()
    return note.read_text() if note.exists() else ""
