# SPDX-License-Identifier: GPL-3.0-or-later
"""``exgs demo``: the whole way, with the same parts that an artist uses.

Compression runs in a worker process; the flythrough is rendered by Blender itself, where the add-on's import
operator, render engine and compositing operator do their work.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cameras import Cameras, read_cameras, write_cameras
from ..cameras.trajectories import Axis, Extent, extent_of, flight, turntable
from ..errors import CancelledError, ExgsError, MissingDependencyError
from ..formats import read
from ..splats import Gaussians
from ..worker.client import run_job
from ..worker.environment import ENVIRONMENT_VARIABLE
from ..worker.protocol import BESIDE, Done, Failed, decode
from .commands import compression_lines
from .demo_sheet import make_sheet
from .terminal import Terminal, megabytes

UP_CHOICES: dict[str, str] = {"-y": "Y_DOWN", "+y": "Y_UP", "+z": "Z_UP"}
FRAMES_PER_SECOND = 12
FIELD_OF_VIEW = 45.0
ARC = 150.0
"""Degrees of the flight: at the demo's length a whole turn would hurry."""
FRONT = 180.0
"""Half-way the camera is on the side of Blender's front view."""
SUBJECT_SHARE = 0.72
"""A ball around the whole capture, ground and all, may leave the frame: what matters is in the middle."""


@dataclass(frozen=True)
class DemoSettings:
    """What the demo is asked for; ``source`` is empty for the built-in scene, ``up`` a key of UP_CHOICES."""

    source: str
    output: Path
    ratio: float
    cameras: str
    frames: int
    width: int
    up: Axis

    @property
    def height(self) -> int:
        return max(round(self.width * 9 / 16 / 2) * 2, 2)


def run_demo(settings: DemoSettings, terminal: Terminal) -> None:
    """Capture in; asset, frames, video and contact sheet out.

    Raises:
        ExgsError: any stage failed; one line.
    """
    if importlib.util.find_spec("bpy") is None:
        raise MissingDependencyError("bpy", "rendering the demo in Blender")
    start = time.perf_counter()
    output = settings.output
    (output / "frames").mkdir(parents=True, exist_ok=True)
    source = settings.source
    if not source:
        terminal.say("1. The built-in scene: Suzanne on a tiled ground, baked by Cycles, one Gaussian per vertex")
        source = str(output / "builtin.ply")
        blender_step("builtin", {"target": source}, terminal)
    else:
        terminal.say(f"1. The capture {source}")
    capture = read(source, report=terminal.report)
    terminal.say(f"   {len(capture):,} Gaussians, SH degree {capture.sh_degree}, {megabytes(capture.ply_bytes)} as PLY")
    shot, extent = _shot(capture, settings)
    shot_file = output / "shot.cameras.json"
    write_cameras(shot_file, shot)

    terminal.say("2. Compress with UGC in a worker process")
    asset = output / (_stem(settings.source) + ".exgs")
    compressed = _compress(source, asset, settings, terminal)
    terminal.say("\n".join("   " + line for line in compression_lines(compressed)))

    terminal.say("3. Fly through it in Blender: splats, restored frame by frame, composited over a Cycles scene")
    frames = _fly(asset, shot_file, extent, settings, terminal)
    terminal.say("4. Video and contact sheet")
    video = output / "flythrough.mp4"
    blender_step("video", {"frames": frames, "target": str(video), "fps": FRAMES_PER_SECOND}, terminal)
    sheet = output / "contact_sheet.png"
    quality = make_sheet(sheet, capture, asset, shot, [Path(frame) for frame in frames], compressed["ratio"], terminal.report)
    seconds = time.perf_counter() - start
    values = {"compress": compressed, "frames": frames, "video": str(video), "contact_sheet": str(sheet), **quality, "seconds": seconds}
    terminal.result(values, _summary(compressed, frames, video, sheet, quality, seconds))


def _summary(
    compressed: dict[str, Any], frames: list[str], video: Path, sheet: Path, quality: dict[str, float], seconds: float
) -> list[str]:
    gain = quality["psnr_restored"] - quality["psnr_pruned"]
    return [
        f"Done in {seconds / 60:.1f} minutes.",
        f"  asset          {compressed['target']}  {megabytes(compressed['bytes'])}, {compressed['ratio']:.1f}x smaller than its PLY",
        f"  frames         {Path(frames[0]).parent}  {len(frames)} PNG",
        f"  video          {video}",
        f"  contact sheet  {sheet}",
        f"  quality        {quality['psnr_pruned']:.2f} dB against the capture, {quality['psnr_restored']:.2f} dB restored ({gain:+.2f})",
    ]


def _shot(capture: Gaussians, settings: DemoSettings) -> tuple[Cameras, Extent]:
    """The flight (in the capture's space) and where the subject is."""
    extent = extent_of(capture, settings.up)
    if settings.cameras:
        views = read_cameras(settings.cameras)
        return flight(views, settings.frames, width=settings.width, height=settings.height), extent
    half_height = np.arctan(np.tan(np.radians(FIELD_OF_VIEW / 2)) * settings.height / settings.width)
    distance = SUBJECT_SHARE / float(np.sin(half_height))
    size = {"width": settings.width, "height": settings.height}
    path = turntable(
        extent,
        settings.frames,
        **size,
        fov_degrees=FIELD_OF_VIEW,
        distance=distance,
        elevation=18.0,
        arc_degrees=ARC,
        start_degrees=FRONT - ARC / 2,
    )
    return path, extent


def _compress(source: str, asset: Path, settings: DemoSettings, terminal: Terminal) -> dict[str, Any]:
    params = {"source": source, "target": str(asset), "ratio": settings.ratio, "cameras": settings.cameras, "page": BESIDE}
    return run_job("compress", params, python=Path(sys.executable), report=terminal.report)


def _fly(asset: Path, shot_file: Path, extent: Extent, settings: DemoSettings, terminal: Terminal) -> list[str]:
    params = {
        "asset": str(asset),
        "cameras": str(shot_file),
        "output": str(settings.output / "frames"),
        "up": UP_CHOICES[settings.up],
        "centre": extent.centre.tolist(),
        "radius": extent.radius,
    }
    return list(blender_step("flythrough", params, terminal)["frames"])


def blender_step(step: str, params: dict[str, Any], terminal: Terminal) -> dict[str, Any]:
    """Run one step of ``blender.demo_scene`` in a Blender of its own; its chatter is dropped, its last words kept.

    Raises:
        ExgsError: the step failed, or Blender died.
    """
    command = [sys.executable, "-m", "exgs_blender.blender.demo_scene", step, json.dumps(params)]
    environment = {ENVIRONMENT_VARIABLE: sys.executable, **os.environ}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment)
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=15)
    outcome: Done | Failed | None = None
    try:
        for line in process.stdout:
            try:
                message = decode(line)
            except ValueError:
                last.append(line.rstrip())
                continue
            if isinstance(message, (Done, Failed)):
                outcome = message
            else:
                terminal.report(message.stage, message.fraction)
    except (KeyboardInterrupt, CancelledError):
        process.kill()
        raise
    code = process.wait()
    if isinstance(outcome, Done):
        return outcome.result
    if isinstance(outcome, Failed):
        raise ExgsError(outcome.message)
    raise ExgsError(f"Blender ended in step '{step}' with exit code {code}: {' | '.join(line for line in last if line)[-400:]}")


def _stem(source: str) -> str:
    if not source:
        return "builtin"
    path = Path(source)
    if path.name in ("meta.json", "lod-meta.json"):
        path = path.parent
    level_of_detail = re.fullmatch(r"\d+_\d+", path.name) is not None  # a level's folder in its capture's
    name = path.parent.name if level_of_detail else path.name
    return name.split(".")[0] or "capture"
