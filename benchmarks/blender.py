# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's side: import of a million Gaussians against Blender's own PLY importer, and what F12 costs beside the worker's time.

    python benchmarks/blender.py [--count 1000000] [--repeats 3] [--record]

Needs bpy in this Python, others by EXGS_BLENDER_PYTHONS; EXGS_PYTHON names the worker's. Imports run in fresh processes, the two
importers in turn. An animation's frames at 1080p are rendered without restoration; overhead is wall time from frame to frame less
the server's own clock. With ``--record`` the table goes to ``benchmarks/results/blender.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results"
FRAMES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print("\nRESULT " + json.dumps(CHILDREN[options.child[0]](options.child[1])), flush=True)
        os._exit(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cloud.ply"
        _write(path, options.count)
        for python in [sys.executable, *filter(None, os.environ.get("EXGS_BLENDER_PYTHONS", "").split(os.pathsep))]:
            rows.append(measure(python, str(path), options.repeats))
            print(json.dumps(rows[-1]), flush=True)
    text = table(options.count, rows)
    print(text)
    if options.record:
        (RESULTS / "blender.md").write_text(text, encoding="utf-8")
        (RESULTS / "blender.json").write_text(json.dumps({"count": options.count, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def measure(python: str, path: str, repeats: int) -> dict[str, Any]:
    pairs = [(_child(python, "theirs", path), _child(python, "ours", path)) for _ in range(repeats)]
    theirs, ours = (min(pair[i]["seconds"] for pair in pairs) for i in (0, 1))
    return {"version": pairs[0][0]["version"], "theirs": theirs, "ours": ours, "ratio": ours / theirs, **_child(python, "frames", path)}


def table(count: int, rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Blender's side",
        "",
        f"{count:,} Gaussians of SH degree 3. Made by `python benchmarks/blender.py --record`. Import: the best of fresh processes.",
        "Overhead: wall time of a 1080p frame less the server's own; the first frame of a render reads the points and sends them.",
        "",
        "| Blender | its PLY import s | ours s | ratio | worker's frame ms | overhead first frame ms | overhead later frames ms (median) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        later = sorted(row["overhead"][1:])
        lines.append(
            f"| {row['version']} | {row['theirs']:.2f} | {row['ours']:.2f} | {row['ratio']:.2f} | {1000 * row['server'][-1]:.0f} "
            f"| {1000 * row['overhead'][0]:.0f} | {1000 * later[len(later) // 2]:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _write(path: Path, count: int) -> None:
    from exgs_blender import formats
    from tests.clouds import random_gaussians

    formats.write(path, random_gaussians(count, 3))


def _child(python: str, name: str, path: str) -> dict[str, Any]:
    command = [python, str(Path(__file__).resolve()), "--child", name, path]
    with tempfile.TemporaryDirectory() as folder:
        variables = {**os.environ, "BLENDER_USER_RESOURCES": folder}
        out = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=600, env=variables, cwd=folder).stdout
    return dict(json.loads(next(line for line in out.splitlines() if line.startswith("RESULT "))[7:]))


def _start() -> Any:
    import bpy

    import exgs_blender

    exgs_blender.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy


def _theirs(path: str) -> dict[str, Any]:
    bpy = _start()
    started = time.perf_counter()
    bpy.ops.wm.ply_import(filepath=path)
    return {"version": bpy.app.version_string, "seconds": time.perf_counter() - started}


def _ours(path: str) -> dict[str, Any]:
    bpy = _start()
    started = time.perf_counter()
    bpy.ops.exgs.import_splats(filepath=path)
    return {"version": bpy.app.version_string, "seconds": time.perf_counter() - started}


def _frames(path: str) -> dict[str, Any]:
    """Frames of an animation whose camera moves; the engine's call is timed, since saving the file is not its affair."""
    bpy = _start()
    from exgs_blender.blender import engine
    from exgs_blender.blender.render_session import SESSION

    bpy.ops.exgs.import_splats(filepath=path)
    scene = bpy.context.scene
    scene.render.engine, scene.render.resolution_x, scene.render.resolution_y = "EXGS", 1920, 1080
    scene.exgs.restore = False
    scene.render.film_transparent = True
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera, camera.location, camera.rotation_euler = camera, (0, -60, 0), (1.5708, 0, 0)
    camera.keyframe_insert("location", frame=1)
    camera.location.x = 3
    camera.keyframe_insert("location", frame=FRAMES)
    scene.frame_end = FRAMES
    scene.render.filepath = str(Path(bpy.app.tempdir) / "frame")
    server: list[float] = []
    walls: list[float] = []
    render, whole = SESSION.render, engine.ExgsRenderEngine.render

    def timed_session(*arguments: Any) -> Any:
        frame = render(*arguments)
        server.append(sum(frame.seconds.values()))
        return frame

    def timed_engine(self: Any, depsgraph: Any) -> None:
        started = time.perf_counter()
        whole(self, depsgraph)
        walls.append(time.perf_counter() - started)

    SESSION.render, engine.ExgsRenderEngine.render = timed_session, timed_engine
    bpy.ops.render.render(animation=True)
    SESSION.close()
    return {"server": server, "overhead": [wall - own for wall, own in zip(walls, server, strict=True)]}


CHILDREN = {"theirs": _theirs, "ours": _ours, "frames": _frames}

if __name__ == "__main__":
    main()
