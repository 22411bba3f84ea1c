# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's end of the render server: clouds are sent once, a frame comes back per request. Standard library and numpy."""

from __future__ import annotations

import json
import queue
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cameras import Cameras
from ..errors import CancelledError, ExgsError
from ..splats import Gaussians, SplatObject
from .process import WorkerProcess
from .protocol import RenderSettings
from .transfer import FrameFiles, camera_to_json, transfer_folder, write_cloud

F32 = NDArray[np.float32]
POLL_SECONDS = 0.02
CANCEL_GRACE_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class ServerFrame:
    """One frame; row 0 is the top. The arrays are read-only, and their memory begins with the bottom row, as Blender's does.

    Attributes:
        combined, unrestored: [H, W, 4] premultiplied scene-linear RGBA, with and without GaussPainter; one array where both are equal.
            Opaque where a background was asked for.
        depth: [H, W] along the view axis in world units; 1e10 where nothing is hit.
        mask: [H, W] 1 - accumulated opacity before restoration.
        backend: which rasterizer ran and why.
        seconds: time of each stage in the server.
    """

    combined: F32
    unrestored: F32
    depth: F32
    mask: F32
    backend: str
    seconds: dict[str, float]


def _never() -> bool:
    return False


class RenderServer:
    """A worker that stays: keeps the scene in memory and renders a frame per request.

    A server that died (out of memory, killed) is replaced at the next request. Not thread-safe: one user at a time.
    """

    def __init__(self, python: Path, *, log_dir: Path | None = None) -> None:
        self._python = python
        self._log_dir = log_dir
        self._process: WorkerProcess | None = None
        self._folder: Path | None = None
        self._files: FrameFiles | None = None
        self._loaded: set[str] = set()
        self._request = 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int | None:
        """Process id of the running server, for logs and tests."""
        return self._process.pid if self._process else None

    def render(
        self,
        objects: Sequence[tuple[str, SplatObject]],
        cameras: Cameras,
        settings: RenderSettings,
        *,
        earlier: Sequence[Cameras] | None = None,
        background: F32 | None = None,
        should_stop: Callable[[], bool] = _never,
    ) -> ServerFrame:
        """Render the first view of ``cameras``.

        Args:
            objects: (key, object) pairs; the key names the cloud's *content*: a cloud is sent once per key
                and forgotten when a request no longer names it.
            earlier: views of the frames before this one in an animation, the nearest first: the restoration is stabilised with them, and
                comes out the same whether or not they were rendered before. None for a picture that stands alone.
            background: scene-linear colour [3] behind the splats, blended as captures are trained; None for a transparent picture.
            should_stop: asked some fifty times a second; True abandons the frame.

        Raises:
            CancelledError: ``should_stop`` said so.
            ExgsError: the frame failed or the server died; one line with the cause.
        """
        process, folder, files = self._running()
        for key, placed in dict(objects).items():
            if key not in self._loaded:
                self._send_cloud(process, folder, key, placed.gaussians, should_stop)
        self._loaded = {key for key, _ in objects}
        path, planes = files.take(int(cameras.widths[0]), int(cameras.heights[0]))
        reply = self._ask(
            {
                "op": "render",
                "objects": [{"key": key, "world_from_object": placed.world_from_object.tolist()} for key, placed in objects],
                "camera": camera_to_json(cameras),
                "settings": asdict(settings),
                "earlier": None if earlier is None else [camera_to_json(view) for view in earlier],
                "background": None if background is None else [float(value) for value in background],
                "path": str(path),
            },
            should_stop,
        )
        if not reply["restored"]:
            planes["combined"] = planes["unrestored"]
        return ServerFrame(**planes, backend=reply["backend"], seconds=reply["seconds"])

    def close(self) -> None:
        """End the server and remove its files; a later :meth:`render` starts a new one."""
        if self._process is not None:
            self._process.close()
            self._process = None
        self._files = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._loaded = set()

    def _running(self) -> tuple[WorkerProcess, Path, FrameFiles]:
        if self._process is None or self._folder is None or self._files is None or not self._process.alive:
            self.close()
            self._folder = transfer_folder()
            self._files = FrameFiles(self._folder)
            self._process = WorkerProcess("server", self._python, self._log_dir)
        return self._process, self._folder, self._files

    def _send_cloud(self, process: WorkerProcess, folder: Path, key: str, gaussians: Gaussians, should_stop: Callable[[], bool]) -> None:
        path = folder / "cloud.f32"
        layout = write_cloud(path, gaussians)
        self._ask({"op": "load", "key": key, "path": str(path), **layout}, should_stop)
        path.unlink(missing_ok=True)

    def _ask(self, request: dict[str, Any], should_stop: Callable[[], bool]) -> dict[str, Any]:
        """Send a request and wait for the answer with its number."""
        assert self._process is not None
        self._request += 1
        self._process.send(json.dumps({**request, "id": self._request}))
        stop_since: float | None = None
        while True:
            try:
                reply = json.loads(self._process.receive(timeout=POLL_SECONDS) or "{}")
            except queue.Empty:
                if stop_since is None and should_stop():
                    stop_since = time.monotonic()
                    self._process.send("cancel")
                if stop_since is not None and time.monotonic() - stop_since > CANCEL_GRACE_SECONDS:
                    self._process.kill()
                    self.close()
                    raise CancelledError() from None
                continue
            except EOFError:
                cause = self._process.epitaph()
                self.close()
                if stop_since is not None:
                    raise CancelledError() from None
                raise ExgsError(f"the render server stopped: {cause}") from None
            if reply.get("id") != self._request:
                continue
            if reply.get("event") == "failed":
                if reply.get("cancelled"):
                    raise CancelledError()
                raise ExgsError(str(reply.get("message")))
            return dict(reply)
