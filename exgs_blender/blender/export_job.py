# SPDX-License-Identifier: GPL-3.0-or-later
"""Splat objects, as edited and placed, to one file; read back before it counts as written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .. import formats
from ..errors import ExgsError, MissingDependencyError
from ..formats.verify import write_verified
from ..splats import Gaussians, concatenate
from ..splats.transforms import transformed
from .axes import WORLD_FROM_CAPTURE
from .job_runner import RUNNER, Task, job_folder
from .splat_object import finite_gaussians, shown_splats

KEEP_ALL_SH = 4


@dataclass(frozen=True)
class ExportOptions:
    """How to write.

    Attributes:
        up: the file's up axis, a key of ``WORLD_FROM_CAPTURE``.
        selected_only: the selected objects, else all that the scene shows.
        sh_degree: bands above it are dropped.
        spz_version: for .spz.
        ratio: for .exgs: compress so many times; 0 rounds finely and keeps every splat.
    """

    up: str = "Y_DOWN"
    selected_only: bool = True
    sh_degree: int = KEEP_ALL_SH
    spz_version: int = 3
    ratio: float = 0.0


def gathered(context: bpy.types.Context, options: ExportOptions) -> Gaussians:
    """The splats of the chosen objects and instances as one cloud, in the file's axes. Modifiers and edits count; SH turns along.

    Raises:
        ExgsError: there is nothing to export, or a value that is not finite.
    """
    depsgraph = context.evaluated_depsgraph_get()
    selected = {obj.name for obj in context.selected_objects}
    file_from_world = np.array(WORLD_FROM_CAPTURE[options.up].inverted(), np.float64)
    parts: list[Gaussians] = []
    for instance in shown_splats(depsgraph):
        chosen = instance.parent if instance.is_instance else instance.object
        if options.selected_only and chosen.name not in selected:
            continue
        cloud = finite_gaussians(instance.object)
        if len(cloud):
            parts.append(transformed(cloud, file_from_world @ np.array(instance.matrix_world, np.float64)))
    if not parts:
        where = "selected" if options.selected_only else "visible in this scene"
        raise ExgsError(f"no splat object with points is {where}; select the captures to export")
    whole = concatenate(parts)
    return whole.with_sh_degree(options.sh_degree) if options.sh_degree < whole.sh_degree else whole


def export(context: bpy.types.Context, path: Path, options: ExportOptions) -> Task | int:
    """Write one file. Returns the number of splats; or the task that writes it, where the worker is needed.

    Raises:
        ExgsError: nothing to export, a format that cannot hold it, or a file that cannot be written or does not read back; one line.
    """
    chosen = formats.writer_for(path)
    cloud = gathered(context, options)
    if cloud.sh_degree > chosen.max_sh_degree:
        raise ExgsError(
            f"{chosen.title} holds SH degree {chosen.max_sh_degree}, the capture has {cloud.sh_degree}; "
            f"choose 'Highest SH Degree' {chosen.max_sh_degree}, which drops finer view-dependent colour, or another format"
        )
    if chosen.name == "exgs" and options.ratio:
        return _by_worker(path, cloud, "compress", {"ratio": options.ratio, "page": ""})
    extra: dict[str, Any] = {"version": options.spz_version} if chosen.name == "spz" else {}
    try:
        write_verified(path, cloud, **extra)
    except MissingDependencyError:
        params: dict[str, Any] = {"verify": True}
        if extra:
            params["spz_version"] = options.spz_version
        return _by_worker(path, cloud, "convert", params)
    return len(cloud)


def _by_worker(path: Path, cloud: Gaussians, job: str, params: dict[str, Any]) -> Task:
    """Let the worker, which has every codec, write it in the background."""
    folder = job_folder()
    source = folder / f"{path.stem}.ply"
    try:
        formats.write(source, cloud)
    except ExgsError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    task = RUNNER.start(
        f"Export {path.name}",
        job,
        {"source": str(source), "target": str(path), **params},
        lambda result: f"{path.name}: {result['count']:,} splats, {result['bytes'] / 1e6:.2f} MB",
        tidy=lambda: shutil.rmtree(folder, ignore_errors=True),
        alone=job == "compress",
        target=path,
    )
    if bpy.app.background:
        RUNNER.wait(task)
        if task.state != "done":
            raise ExgsError(task.message)
    return task
