# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compress panel's choices: targets, views, the queue, what is left, before and after."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import bpy

from exgs_blender.blender.before_after import twin_to_show
from exgs_blender.blender.compress_job import Request, estimate_for
from exgs_blender.blender.job_runner import RUNNER, Task
from exgs_blender.blender.panel_compress import expectation, line_of
from exgs_blender.cameras import write_cameras
from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.formats.exgs import read_asset

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    scene = stage.start()
    bpy.ops.exgs.import_splats(filepath=stage.write_capture(request["folder"]), up="Z_UP")
    splats = bpy.context.object
    stage.add_camera(scene, (3, -4, 2.0)).keyframe_insert("location", frame=1)
    scene.frame_start, scene.frame_end = 1, 4
    result = {"estimates": _estimates(splats), "expectation": _expectation(scene, splats)}
    result["size"] = _size(folder / "size.exgs")
    result["lines"] = _refusals(folder)
    result["queue"] = _queue(scene, folder)
    result["pair"] = _before_after(scene, folder)
    return result


def _compress(target: Path, **options: Any) -> Task:
    bpy.ops.exgs.compress(filepath=str(target), **{"replace_original": False, **options})
    return RUNNER.running[-1]


def _estimates(splats: bpy.types.Object) -> dict[str, list[float]]:
    options = bpy.context.scene.exgs.compress
    found = {}
    for goal in ("NEAR_LOSSLESS", "BALANCED", "EXTREME", "QUALITY", "SIZE"):
        options.goal = goal
        expected = estimate_for(bpy.context, splats, Request.of(options))
        found[goal] = [expected.seconds, expected.bytes]
    return found


def _expectation(scene: bpy.types.Scene, splats: bpy.types.Object) -> str:
    scene.exgs.compress.goal = "BALANCED"
    return expectation(bpy.context, splats)


def _size(target: Path) -> dict[str, Any]:
    """Twenty kilobytes; on the way the job's own account of itself."""
    task = _compress(target, size_mb=0.02)
    fractions, lines, left = [0.0], set(), []
    while not task.ended:
        time.sleep(0.02)
        RUNNER.poll()
        fractions.append(task.fraction)
        lines.add(line_of(task))
        left.append(task.remaining.seconds)
    return {
        "state": task.state,
        "message": task.message,
        "bytes": target.stat().st_size,
        "never back": all(a <= b for a, b in itertools.pairwise(fractions)),
        "last": fractions[-1],
        "left": [max(left), left[-1]],
        "lines": sorted(lines),
    }


def _refusals(folder: Path) -> dict[str, str]:
    (folder / "no cameras.json").write_text("[]")
    return {
        "no file": stage.one_line(lambda: _compress(folder / "x.exgs", views="FILE")),
        "bad file": stage.one_line(lambda: _compress(folder / "x.exgs", views="FILE", cameras_file=str(folder / "no cameras.json"))),
    }


def _queue(scene: bpy.types.Scene, folder: Path) -> dict[str, Any]:
    """Three at once: one runs, one waits, one that waits is taken back. Each has views of its own; a panoramic camera is in the way."""
    second = stage.add_camera(scene, (-3, -4, 2.0))
    fish = bpy.data.cameras.new("fish")
    fish.type = "PANO"
    scene.collection.objects.link(bpy.data.objects.new("fish", fish))
    file = folder / "orbit.json"
    write_cameras(file, orbit(extent_of(stage.ball()), 9))
    choices: list[dict[str, Any]] = [
        {"views": "CAMERAS", "everywhere": 0.3},
        {"views": "FILE", "cameras_file": str(file)},
        {"views": "EVERYWHERE"},
    ]
    tasks = [_compress(folder / f"queue{i}.exgs", ratio=30, **options) for i, options in enumerate(choices)]
    before = [task.state for task in tasks]
    same = stage.one_line(lambda: _compress(folder / "queue1.exgs"))
    bpy.ops.exgs.cancel_job(index=2)
    order = []
    while RUNNER.running:
        time.sleep(0.02)
        order += [int(task.target.stem[-1]) for task in RUNNER.poll()]
    files = sorted(folder.glob("queue*.exgs"))
    bpy.data.objects.remove(second)
    return {
        "before": before,
        "same file": same,
        "order": order,
        "after": [task.state for task in tasks],
        "messages": [task.message for task in tasks],
        "files": {path.name: read_asset(path).metadata["views"] for path in files},
    }


def _before_after(scene: bpy.types.Scene, folder: Path) -> dict[str, Any]:
    """The result follows the original's parent and animation; one of the two is shown."""
    original = bpy.data.objects["capture"]
    parent = bpy.data.objects.new("parent", None)
    scene.collection.objects.link(parent)
    original.parent = parent
    for frame, x in ((1, 0.0), (4, 2.0)):
        original.location.x = x
        original.keyframe_insert("location", frame=frame)
    parent.location.z = 1
    bpy.context.view_layer.objects.active = original
    RUNNER.wait(_compress(folder / "pair.exgs", ratio=30, replace_original=True))
    result = bpy.context.object
    places = []
    for frame in (1, 4):
        scene.frame_set(frame)
        places.append([round(x, 4) for x in result.matrix_world.translation])
    shown = [_shown(original, result)]
    for _ in range(2):
        bpy.ops.exgs.before_after()
        shown.append([*_shown(original, result), bpy.context.object.name])
    bpy.data.objects.remove(original)
    return {"places": places, "shown": shown, "alone": twin_to_show(result) is None, "polls": bpy.ops.exgs.before_after.poll()}


def _shown(*objects: bpy.types.Object) -> list[bool]:
    assert all(obj.hide_render == obj.hide_viewport for obj in objects)
    return [not obj.hide_render for obj in objects]
