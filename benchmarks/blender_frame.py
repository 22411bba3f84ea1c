# SPDX-License-Identifier: GPL-3.0-or-later
"""What a frame in Blender costs beside the worker's own time for it: an animation at 1080p with a moving camera.

    EXGS_BLENDER_PYTHONS=/other/python python benchmarks/blender_frame.py [--capture FILE] [--frames 9] [--record]

Beside is wall time of the engine's call less the time that the worker's server measures for the same frame: collecting the splats, sending
the view, waiting for the answer, and handing four passes of 1920 x 1080 to Blender. The first frame also starts the server, reads the
points and sends them. The floor is what any render engine pays for four such passes: the wall time of one that does nothing but hand
over numbers that it has ready, in the same strips; floor_whole is the same in one piece. Taken is the part of our own frames that
Blender's calls need. Restoration is off, the film transparent. EXGS_PYTHON names the worker's Python. --record writes
benchmarks/results/blender_frame.json, otherwise benchmarks/out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks.blender_pythons import leave, pythons, record  # noqa: E402

CAPTURE = Path(os.environ.get("EXGS_DATA", HERE.parents[1] / "shared" / "data")) / "scenes" / "biker.spz"
TARGET_MS = 60.0


def measure(capture: str, frames: int) -> dict[str, Any]:
    """Runs inside Blender: milliseconds of the worker and beside it, frame by frame."""
    import bpy

    import exgs_blender
    from exgs_blender.blender import engine
    from exgs_blender.blender.render_session import SESSION

    exgs_blender.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.exgs.import_splats(filepath=capture)
    points = len(bpy.context.object.data.attributes["position"].data)
    _film(bpy.context.object, frames)
    worker: list[float] = []
    walls: list[float] = []
    taken: list[float] = []
    ask, render, fill = SESSION.render, engine.ExgsRenderEngine.render, engine.ExgsRenderEngine._fill

    def timed_ask(*arguments: Any) -> Any:
        frame = ask(*arguments)
        worker.append(1000 * sum(frame.seconds.values()))
        return frame

    def timed_render(self: Any, depsgraph: Any) -> None:
        start = time.perf_counter()
        render(self, depsgraph)
        walls.append(1000 * (time.perf_counter() - start))

    def timed_fill(*arguments: Any) -> None:
        start = time.perf_counter()
        fill(*arguments)
        taken.append(1000 * (time.perf_counter() - start))

    SESSION.render, engine.ExgsRenderEngine.render, engine.ExgsRenderEngine._fill = timed_ask, timed_render, timed_fill
    bpy.ops.render.render(animation=True)
    SESSION.close()
    beside = [wall - own for wall, own in zip(walls, worker, strict=True)]
    return {"blender": bpy.app.version_string, "points": points, "worker_ms": worker, "beside_ms": beside, "taken_ms": taken}


def floor(frames: int, strip_rows: int) -> list[float]:
    """Runs inside Blender: milliseconds a frame of an engine that hands over ready numbers.

    In a process of its own: whether the memory of the last frame's result is given back to the system, and so costs four times as
    much when it is needed again, depends on what else was allocated.
    """
    import bpy
    import numpy as np

    import exgs_blender
    from exgs_blender.blender import engine

    exgs_blender.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_cube_add()
    _film(bpy.context.object, frames)
    walls: list[float] = []
    fill = engine.ExgsRenderEngine._fill
    ready = {name: np.full((1080, 1920, len(kind[0])), 0.5, np.float32)[::-1] for name, kind in engine.PASSES.items()}
    window = engine.Window(0, 0, 1920, 1080, 1920, 1080)

    def hand_over(self: Any, depsgraph: Any) -> None:
        start = time.perf_counter()
        fill(self, depsgraph.view_layer.name, ready, window)
        walls.append(1000 * (time.perf_counter() - start))

    engine.ExgsRenderEngine.render, engine.STRIP_ROWS = hand_over, strip_rows
    bpy.ops.render.render(animation=True)
    return walls


def _film(obj: Any, frames: int) -> None:
    """A camera that moves past the object, which fills the height of the picture."""
    import bpy
    from mathutils import Vector

    scene = bpy.context.scene
    bpy.context.view_layer.update()
    corners = [obj.matrix_world @ Vector(corner) for corner in obj.bound_box]
    centre = sum(corners, Vector()) / 8
    distance = 1.6 * max(obj.dimensions)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    for frame, side in ((1, -0.2), (frames, 0.2)):
        camera.location = centre + Vector((side * distance, -distance, 0))
        camera.rotation_euler = (centre - camera.location).to_track_quat("-Z", "Y").to_euler()
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)
    scene.render.engine = "EXGS"
    scene.render.resolution_x, scene.render.resolution_y = 1920, 1080
    scene.render.film_transparent = True
    scene.exgs.restore = False
    scene.frame_end = frames
    scene.render.filepath = str(Path(bpy.app.tempdir) / "frame")


def _inside(python: str, options: argparse.Namespace, strips: int = 0) -> dict[str, Any]:
    """What a Blender of its own has measured: frames, or the floor with so many rows a strip."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            python,
            __file__,
            "--inside",
            "--capture",
            str(options.capture),
            "--frames",
            str(options.frames),
            "--strips",
            str(strips),
        ]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "BLENDER_USER_RESOURCES": folder})
    found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capture", type=Path, default=CAPTURE)
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--strips", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        leave({"ms": floor(options.frames, options.strips)} if options.strips else measure(str(options.capture), options.frames))
    rows = []
    for python in pythons():
        row = _inside(python, options)
        for name, strips in (("floor", 64), ("floor_whole", 1080)):
            row[f"{name}_ms"] = _inside(python, options, strips)["ms"]
        for name in ("beside", "worker", "taken", "floor", "floor_whole"):
            row[f"median_{name}_ms"] = statistics.median(row[f"{name}_ms"][1:])
        row["ratio"] = row["median_beside_ms"] / row["median_floor_ms"]
        rows.append(row)
        print(
            f"Blender {row['blender']}: {row['points']:,} splats at 1080p: worker {row['median_worker_ms']:.0f} ms a frame, beside it "
            f"{row['median_beside_ms']:.0f} ms (best {min(row['beside_ms'][1:]):.0f}, target {TARGET_MS:.0f}), {row['ratio']:.2f} times "
            f"the floor of {row['median_floor_ms']:.0f} ms ({row['median_floor_whole_ms']:.0f} in one piece); "
            f"first frame {row['beside_ms'][0]:.0f} ms",
            flush=True,
        )
    numbers = {"capture": options.capture.name, "target_ms": TARGET_MS, "rows": rows}
    record("blender_frame", numbers, recorded=options.record)


if __name__ == "__main__":
    main()
