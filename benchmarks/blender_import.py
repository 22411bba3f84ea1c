# SPDX-License-Identifier: GPL-3.0-or-later
"""Importing a capture into Blender beside Blender's own PLY importer, in turns within one process.

    EXGS_BLENDER_PYTHONS=/other/python python benchmarks/blender_import.py [--count 1000000] [--repeats 5] [--record]

Blender's importer makes a mesh of scalar attributes of the same file; ours makes a point cloud that is a splat object. Runs in
this Python where it holds bpy, and in those that EXGS_BLENDER_PYTHONS names. The file is in the page cache. Compared are the
smallest times: other load on the machine only adds. --record writes benchmarks/results/blender_import.json, otherwise benchmarks/out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks.blender_pythons import leave, pythons, record  # noqa: E402

DEGREE = 3


def measure(path: str, repeats: int) -> dict[str, Any]:
    """Runs inside Blender: seconds of each import, theirs and ours in turns."""
    import bpy

    import exgs_blender

    exgs_blender.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    theirs, ours = [], []
    for _ in range(repeats):
        theirs.append(_seconds(lambda: bpy.ops.wm.ply_import(filepath=path)))
        _empty_file()
        ours.append(_seconds(lambda: bpy.ops.exgs.import_splats(filepath=path)))
        points, coefficients = len(bpy.context.object.data.attributes["position"].data), len(bpy.context.object.data.attributes)
        _empty_file()
    return {
        "blender": bpy.app.version_string,
        "points": points,
        "attributes": coefficients,
        "theirs": theirs,
        "ours": ours,
        "ratio": min(ours) / min(theirs),
    }


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _empty_file() -> None:
    import bpy

    bpy.data.batch_remove([*bpy.data.objects, *bpy.data.meshes, *bpy.data.pointclouds])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    parser.add_argument("--inside", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        leave(measure(options.inside, options.repeats))
    from exgs_blender import formats
    from tests.clouds import random_gaussians

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "capture.ply"
        formats.write(capture, random_gaussians(options.count, DEGREE))
        for python in pythons():
            command = [python, __file__, "--inside", str(capture), "--repeats", str(options.repeats)]
            told = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "BLENDER_USER_RESOURCES": folder})
            row = json.loads(told.stdout.splitlines()[-1])
            rows.append(row)
            print(
                f"Blender {row['blender']}: {row['points']:,} points, SH {DEGREE}: Blender's own importer {min(row['theirs']):.2f} s, "
                f"ours {min(row['ours']):.2f} s, ratio {row['ratio']:.2f}",
                flush=True,
            )
    record("blender_import", {"count": options.count, "sh_degree": DEGREE, "rows": rows}, recorded=options.record)


if __name__ == "__main__":
    main()
