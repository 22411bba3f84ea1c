# SPDX-License-Identifier: GPL-3.0-or-later
"""The render server: keeps clouds and the painter in memory, renders a frame per request line.

Requests: ``{"op": "load", "id", "key", "path", "count", "rest"}`` and ``{"op": "render", "id", "objects",
"camera", "settings", "path", "earlier", "background"}``, where ``path`` is a frame file of the right size, ``earlier`` holds
the cameras of the frames before, the nearest first, or None where the frame stands alone, and ``background`` is a
scene-linear colour or None. Each is answered by one line with its ``id`` and ``event`` "done" or "failed".
"""

from __future__ import annotations

import json
import signal
import sys
import time
import traceback
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..cameras import Cameras
from ..errors import CancelledError, ExgsError
from ..render.frame import Frame
from ..render.prepared import PreparedScene, prepare
from ..render.rasterize import rasterize
from ..sequence.finish import depth_plane, rgba_linear, rgba_over
from ..sequence.restorer import Restorer
from ..sequence.steady import SteadyRestorer
from ..splats import Gaussians, SplatObject
from .channel import Channel
from .protocol import RenderSettings
from .transfer import F32, camera_from_json, map_frame, read_cloud


class Server:
    """State between requests: the clouds by key, and the painter once it was needed."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._clouds: dict[str, Gaussians] = {}
        self._restorer = Restorer()
        self._scene: tuple[str, PreparedScene] | None = None
        """The last scene made ready, with the objects that it was made of: a camera move alone changes nothing in it."""
        self._files: dict[Path, dict[str, F32]] = {}
        self._steady: tuple[str, SteadyRestorer] | None = None
        """What the last frames of an animation left behind, with the objects and settings that they were made of."""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request; errors become a "failed" reply."""
        reply = {"id": request.get("id"), "event": "done"}
        try:
            if request["op"] == "load":
                self._clouds[request["key"]] = read_cloud(Path(request["path"]), request["count"], request["rest"])
            elif request["op"] == "render":
                reply |= self._render(request)
            else:
                raise ExgsError(f"the render server knows no request '{request['op']}'")
        except CancelledError as error:
            reply |= {"event": "failed", "message": str(error), "cancelled": True}
        except ExgsError as error:
            traceback.print_exc()
            reply |= {"event": "failed", "message": str(error)}
        except Exception as error:  # a bug: the log has the traceback, the user one line
            traceback.print_exc()
            reply |= {"event": "failed", "message": f"unexpected {type(error).__name__}: {error}"}
        return reply

    def _render(self, request: dict[str, Any]) -> dict[str, Any]:
        settings = RenderSettings(**request["settings"])
        cameras = camera_from_json(request["camera"])
        start = time.perf_counter()
        frame = self._rasterized(cameras, request["objects"], settings)
        rasterized = time.perf_counter()
        self._channel.check_cancelled()
        restored = frame
        if settings.restore and request.get("earlier") is None:
            restored = self._restored(frame, settings)
        elif settings.restore:
            steady = self._steady_for(request["objects"], settings)
            restored = steady(cameras, frame, [camera_from_json(data) for data in request["earlier"]])
        painted = time.perf_counter()
        self._channel.check_cancelled()
        _write(self._planes(Path(request["path"]), cameras), frame, restored, request.get("background"))
        done = time.perf_counter()
        seconds = {"rasterize": rasterized - start, "restore": painted - rasterized, "finish": done - painted}
        return {"backend": f"{frame.backend.name}: {frame.backend.reason}", "restored": restored is not frame, "seconds": seconds}

    def _planes(self, path: Path, cameras: Cameras) -> dict[str, F32]:
        """The planes of a frame file, which stays mapped: the client uses it again for later frames."""
        self._files = {known: planes for known, planes in self._files.items() if known.exists()}
        if path not in self._files:
            self._files[path] = map_frame(path, int(cameras.widths[0]), int(cameras.heights[0]))
        return self._files[path]

    def _rasterized(self, cameras: Cameras, objects: list[dict[str, Any]], settings: RenderSettings) -> Frame:
        self._channel.check_cancelled()
        return rasterize(self._prepared(objects), cameras, backend=settings.backend, rasterize_mode=settings.rasterize_mode)  # type: ignore[arg-type]

    def _restored(self, frame: Frame, settings: RenderSettings) -> Frame:
        self._channel.check_cancelled()
        return self._restorer(frame, settings.keep_ratio, settings.restore_strength, settings.checkpoint, settings.guidance)

    def _steady_for(self, objects: list[dict[str, Any]], settings: RenderSettings) -> SteadyRestorer:
        """The one that knows the last frames, unless those showed something else."""
        made_of = json.dumps([objects, asdict(settings)])
        if self._steady is None or self._steady[0] != made_of:
            steady = SteadyRestorer(
                rasterize=lambda cameras: self._rasterized(cameras, objects, settings),
                restore=lambda frame: self._restored(frame, settings),
            )
            self._steady = (made_of, steady)
        return self._steady[1]

    def _prepared(self, objects: list[dict[str, Any]]) -> PreparedScene:
        """The objects of a request, ready to render; clouds that it does not name are forgotten."""
        made_of = json.dumps(objects)
        if self._scene is None or self._scene[0] != made_of:
            wanted = {item["key"] for item in objects}
            self._clouds = {key: cloud for key, cloud in self._clouds.items() if key in wanted}
            placed = [SplatObject(self._clouds[item["key"]], np.array(item["world_from_object"])) for item in objects]
            self._scene = (made_of, prepare(placed))
        return self._scene[1]


def _write(planes: dict[str, F32], frame: Frame, restored: Frame, background: list[float] | None) -> None:
    finish = rgba_linear if background is None else partial(rgba_over, background=background)
    planes["unrestored"][:] = finish(frame)
    if restored is not frame:
        planes["combined"][:] = finish(restored)
    planes["depth"][:] = depth_plane(restored)
    planes["mask"][:] = 1.0 - frame.alpha


def main() -> int:
    """Serve until the input ends."""
    channel = Channel()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # between requests there is nothing to tidy up
    server = Server(channel)
    while (line := channel.lines.get()) is not None:
        try:
            request = json.loads(line)
        except json.JSONDecodeError:
            print(f"not a request: {line[:200]}", file=sys.stderr)
            continue
        reply = server.answer(request)
        channel.write(json.dumps(reply))
    return 0
