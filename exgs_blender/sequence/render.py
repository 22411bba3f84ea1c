# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera animation -> restored frames in files. Frames that are there already are kept, so a stopped render goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..atomic import atomic_path
from ..cameras import Cameras
from ..errors import ExgsError, FileError
from ..progress import Report, silent
from ..render.frame import BackendChoice, Frame, RasterizeMode
from ..render.prepared import prepare
from ..render.rasterize import rasterize
from ..splats import Gaussians
from .images import write_exr, write_png
from .restorer import Restorer
from .steady import WINDOW, SteadyRestorer

MANIFEST = "exgs-sequence.json"


@dataclass(frozen=True)
class SequenceSettings:
    """What the frames of a folder have in common.

    Attributes:
        format: "png" (8-bit sRGB, straight alpha) or "exr" (multilayer, scene-linear, depth).
        restore: run GaussPainter; ``strength`` 0..1, ``keep_ratio`` 0..1 and ``guidance`` (see ``ugc.guidance``) steer it.
        rasterize_mode: "classic" or "antialiased".
        backend: "auto", "gsplat", "cpu", "reference".
        overwrite: render frames that exist anew.
        checkpoint: folder of another GaussPainter checkpoint; empty for the one in the package.
        temporal: the cameras are an animation, in this order: average what the painter changes over neighbouring frames, lest it flicker.
    """

    format: Literal["png", "exr"] = "png"
    restore: bool = True
    strength: float = 1.0
    keep_ratio: float = 1.0
    rasterize_mode: RasterizeMode = "classic"
    backend: BackendChoice = "auto"
    overwrite: bool = False
    checkpoint: str = ""
    guidance: str = ""
    temporal: bool = True


@dataclass(frozen=True)
class SequenceResult:
    """Paths of all frames in camera order, how many were rendered now, seconds by stage, the backend's words."""

    frames: tuple[Path, ...]
    rendered: int
    seconds: dict[str, float]
    backend: str


def render_sequence(
    gaussians: Gaussians, cameras: Cameras, output: Path, settings: SequenceSettings, report: Report = silent
) -> SequenceResult:
    """Render every camera into ``output/<camera name>.<format>``.

    A frame is the same whether all were rendered at once or some were there already.

    Raises:
        FileError: the folder cannot be written, or holds frames of another asset or of other settings.
        ExgsError: two cameras have the same name.
    """
    if len(set(cameras.names)) != len(cameras.names):
        raise ExgsError("two cameras have the same name; their frames would overwrite each other")
    paths = [output / f"{name}.{settings.format}" for name in cameras.names]
    _claim(output, _fingerprint(gaussians, settings), settings.overwrite)
    missing = [i for i, path in enumerate(paths) if settings.overwrite or not path.exists()]
    seconds = {"rasterize": 0.0, "restore": 0.0, "write": 0.0}
    backend = ""
    report("render", 0.0)
    for done, (i, frame, restored) in enumerate(_frames(gaussians, cameras, missing, settings, seconds), 1):
        start = time.perf_counter()
        if settings.format == "exr":
            write_exr(paths[i], frame, restored)
        else:
            write_png(paths[i], restored)
        seconds["write"] += time.perf_counter() - start
        backend = f"{frame.backend.name}: {frame.backend.reason}"
        report("render", done / len(missing))
    return SequenceResult(tuple(paths), len(missing), seconds, backend)


def _frames(
    gaussians: Gaussians, cameras: Cameras, wanted: list[int], settings: SequenceSettings, seconds: dict[str, float]
) -> Iterator[tuple[int, Frame, Frame]]:
    """(camera index, frame, restored frame); adds up the time of both stages, pre-roll included."""
    restorer, scene = Restorer(), prepare(gaussians)

    def rasterized(view: Cameras) -> Frame:
        start = time.perf_counter()
        frame = rasterize(scene, view, backend=settings.backend, rasterize_mode=settings.rasterize_mode)
        seconds["rasterize"] += time.perf_counter() - start
        return frame

    def restored(frame: Frame) -> Frame:
        return restorer(frame, settings.keep_ratio, settings.strength, settings.checkpoint, settings.guidance)

    steady = SteadyRestorer(rasterized, restored)
    for i in wanted:
        view = cameras.select([i])
        frame = rasterized(view)
        start, other = time.perf_counter(), seconds["rasterize"]
        finished = frame
        if settings.restore:
            earlier = [cameras.select([j]) for j in range(i - 1, max(i - WINDOW, 0) - 1, -1)]
            finished = steady(view, frame, earlier) if settings.temporal else restored(frame)
        seconds["restore"] += time.perf_counter() - start - (seconds["rasterize"] - other)
        yield i, frame, finished


def _fingerprint(gaussians: Gaussians, settings: SequenceSettings) -> str:
    """Equal for equal pictures of one camera: the cloud's values and the settings that change pixels."""
    digest = hashlib.blake2b(digest_size=16)
    for _, array in gaussians.arrays():
        digest.update(array.tobytes())
    relevant = {k: v for k, v in asdict(settings).items() if k not in ("overwrite", "backend")}
    digest.update(json.dumps(relevant, sort_keys=True).encode())
    return digest.hexdigest()


def _claim(output: Path, fingerprint: str, overwrite: bool) -> None:
    """Make the folder and note what its frames are made of; refuse to mix two kinds of frames."""
    manifest = output / MANIFEST
    if manifest.exists() and not overwrite:
        try:
            found = json.loads(manifest.read_text(encoding="utf-8")).get("fingerprint")
        except (OSError, ValueError, AttributeError) as error:
            raise FileError(manifest, f"cannot be read ({error})", "Use --overwrite or another folder") from error
        if found != fingerprint:
            raise FileError(output, "holds frames of another asset or of other settings", "Use --overwrite or another folder")
        return
    with atomic_path(manifest) as part:
        part.write_text(json.dumps({"format": "exgs-sequence", "version": 1, "fingerprint": fingerprint}), encoding="utf-8")
