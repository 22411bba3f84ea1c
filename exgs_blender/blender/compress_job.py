# SPDX-License-Identifier: GPL-3.0-or-later
"""From a splat object to a background compression, and from its result to an object in the original's place."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from .. import formats
from ..cameras import Cameras, read_cameras, write_cameras
from ..errors import ExgsError
from ..splats.gaussians import SH_COEFFICIENTS
from ..worker.estimate import Estimate, Goal, estimate, read_speed, remember_speed
from ..worker.protocol import BESIDE
from .before_after import make_twins, stand_in_for
from .camera_animation import scene_cameras, shot_cameras, shot_frames, up_direction
from .compress_settings import CompressOptions, goal_of
from .job_runner import RUNNER, Task, job_folder
from .ops_import import place, read_capture
from .splat_object import POSITION, SH_PREFIX, gaussians_of
from .user_folder import user_folder

SUFFIX = ".exgs"
SPEED_FILE = "speed.json"


@dataclass(frozen=True)
class Request:
    """What the artist asked for, free of Blender's property types."""

    goal: Goal
    views: str = "EVERYWHERE"
    cameras_file: str = ""
    everywhere: float = 0.0
    replace_original: bool = True

    @classmethod
    def of(cls, options: CompressOptions) -> Request:
        """The choices of a panel or an operator."""
        file = bpy.path.abspath(options.cameras_file) if options.views == "FILE" else ""
        share = 0.0 if options.views == "EVERYWHERE" else options.everywhere
        return cls(goal_of(options), options.views, file, share, options.replace_original)


def default_target(obj: bpy.types.Object) -> Path:
    """Beside the capture's own file, else beside the .blend, else in the home folder; never over the source."""
    name = re.sub(r"[^\w\-. ]", "_", obj.name)
    source = Path(bpy.path.abspath(obj.exgs.source_path)) if obj.exgs.source_path else None
    if source is not None and source.parent.is_dir():
        folder = source.parent.parent if source.suffix == ".json" else source.parent
    else:
        folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
    target = folder / f"{name}{SUFFIX}"
    return target.with_stem(f"{name}-compressed") if target == source else target


def estimate_for(context: bpy.types.Context, obj: bpy.types.Object, request: Request) -> Estimate:
    """Time and size before the start; cheap enough to be asked while a panel is drawn."""
    attributes = obj.data.attributes
    count = len(attributes[POSITION].data)
    rest = sum(1 for name in attributes.keys() if name.startswith(SH_PREFIX))  # noqa: SIM118 (attributes are no dict)
    size = count * 4 * (14 + 3 * (rest if rest + 1 in SH_COEFFICIENTS else 0))
    views = 0
    if request.views in ("SHOT", "CAMERAS"):
        views = len(shot_frames(context.scene))
    elif request.views == "FILE":
        views = 96
    return estimate(count, size, request.goal, views, request.everywhere, read_speed(user_folder() / SPEED_FILE))


def start_compression(context: bpy.types.Context, obj: bpy.types.Object, target: Path, request: Request) -> Task:
    """Hand the object's splats, as edited, to a background job.

    Raises:
        ExgsError: nothing to compress, no usable camera, or no worker; one line.
    """
    busy = next((task.title for task in RUNNER.running if task.target == target), None)
    if busy:
        raise ExgsError(f"{target}: '{busy}' is about to write this file; choose another name or cancel it")
    expected = estimate_for(context, obj, request)
    gaussians = gaussians_of(obj, context.evaluated_depsgraph_get())
    folder = job_folder()
    try:
        source = folder / f"{target.stem}.ply"  # the report and the asset tell this name
        params: dict[str, Any] = {"source": str(source), "target": str(target), "page": BESIDE, "up": up_direction(obj)}
        params |= {name: value for name, value in vars(request.goal).items() if value}
        params |= _views(context, obj, request, folder)
        formats.write(params["source"], gaussians)
    except ExgsError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    uid = obj.session_uid

    def on_done(result: dict[str, Any]) -> str:
        remember_speed(user_folder() / SPEED_FILE, expected.seconds, sum(result["seconds"].values()))
        return _finish(uid, target, request.replace_original, result)

    return RUNNER.start(
        f"Compress {obj.name}",
        "compress",
        params,
        on_done,
        tidy=lambda: shutil.rmtree(folder, ignore_errors=True),
        alone=True,
        plan=expected.stages,
        target=target,
    )


def _views(context: bpy.types.Context, obj: bpy.types.Object, request: Request, folder: Path) -> dict[str, Any]:
    """The parameters of the job that say which views matter; writes the cameras that it needs into ``folder``."""
    if request.views == "EVERYWHERE":
        return {}
    share = {"everywhere": request.everywhere} if request.everywhere else {}
    if request.views == "FILE":
        if not request.cameras_file:
            raise ExgsError("no camera file is chosen; name one in the panel, or choose other views")
        read_cameras(request.cameras_file)  # complain now, not in a minute
        return {"cameras": request.cameras_file, **share}
    path = folder / "cameras.json"
    write_cameras(path, _scene_views(context, obj, request.views == "SHOT"))
    return {"cameras": str(path), "hold_out": False, **share}  # every one of these views must look good


def _scene_views(context: bpy.types.Context, obj: bpy.types.Object, this_shot: bool) -> Cameras:
    frames = shot_frames(context.scene)
    return shot_cameras(context, frames, relative_to=obj) if this_shot else scene_cameras(context, frames, relative_to=obj)


def _finish(uid: int, target: Path, show: bool, result: dict[str, Any]) -> str:
    """The job is done: show what came of it. The original may be gone, or another file may be open: then the asset is all there is."""
    told = f"{target.name}: {result['headline']}"
    original = next((other for other in bpy.data.objects if other.session_uid == uid), None)
    if original is None:
        return f"{told} (the object is no longer in this file; import {target} to see it)"
    objects = [original, _show_result(bpy.context, original, target)] if show else [original]
    for item in objects:
        item.exgs.headline, item.exgs.report_path = result["headline"], result["report"]
    if not bpy.app.background:
        bpy.ops.ed.undo_push(message="Compress Splats")
    return told


def _show_result(context: bpy.types.Context, original: bpy.types.Object, target: Path) -> bpy.types.Object:
    """Import the compressed file where the original is, and hide the original; returns the new object."""
    gaussians, keep_ratio, guidance = read_capture(target)
    # What was compressed may have been compressed before.
    result = place(context, target, gaussians, original.matrix_world, keep_ratio * original.exgs.keep_ratio, guidance)
    result.name = f"{original.name} ExGS"
    stand_in_for(result, original)
    make_twins(original, result)
    return result
