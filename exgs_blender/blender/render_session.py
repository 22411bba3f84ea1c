# SPDX-License-Identifier: GPL-3.0-or-later
"""The one render server of this Blender: shared by all scenes and frames, closed with the add-on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import bpy
import numpy as np

from ..cameras import Cameras
from ..splats import Gaussians, SplatObject
from ..splats.gaussians import F32
from ..ugc.guidance import together
from ..worker.client import RenderServer, ServerFrame
from ..worker.protocol import RenderSettings
from .content import CONTENT
from .splat_object import gaussians_from_attributes, read_attributes, shown_splats

Placed = tuple[str, SplatObject]


def shown_state(depsgraph: bpy.types.Depsgraph) -> list[tuple[str, bytes, float]]:
    """Content, place and kept share of all that an evaluated scene shows: equal for equal pictures through one camera."""
    return [
        (CONTENT.key(i, depsgraph)[0], np.array(i.matrix_world, np.float64).tobytes(), i.object.exgs.keep_ratio)
        for i in shown_splats(depsgraph)
    ]


def owner_of(instance: bpy.types.DepsgraphObjectInstance) -> str:
    """Name of the object that decides whether a 3D view shows an instance: local view, its own collections, its filter for object types."""
    return (instance.parent if instance.is_instance else instance.object).original.name


def hidden_in(space: bpy.types.SpaceView3D, names: Iterable[str]) -> frozenset[str]:
    """Those of the objects that a 3D view does not show."""
    return frozenset(name for name in names if not ((obj := bpy.data.objects.get(name)) and obj.visible_in_viewport_get(space)))


class RenderSession:
    """Keeps the server process and the clouds that it was last asked for. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: RenderServer | None = None
        self._python: Path | None = None
        self._clouds: dict[str, Gaussians] = {}
        self.failures: deque[str] = deque(maxlen=20)
        """One line per frame that failed, oldest first: an animation render goes on after one."""

    def visible_splats(self, depsgraph: bpy.types.Depsgraph, hidden: frozenset[str] = frozenset()) -> tuple[list[Placed], float, str]:
        """Every visible splat object and instance of an evaluated scene, but for those that objects of the names ``hidden`` show;
        the share of splats that compression kept; and what it noted for the painter.

        Each comes with a key of its content; a cloud is decoded only when its content is new.
        """
        known: dict[str, Gaussians] = {}
        keys: dict[int, str] = {}
        placed: list[Placed] = []
        kept = originally = 0.0
        guidance: list[str] = []
        for instance in shown_splats(depsgraph):
            obj = instance.object
            if hidden and owner_of(instance) in hidden:
                continue
            pointer = obj.data.as_pointer()
            if pointer not in keys:
                key, attributes = CONTENT.key(instance, depsgraph)
                keys[pointer] = key
                if key not in known:
                    there = self._clouds.get(key)
                    known[key] = there if there is not None else gaussians_from_attributes(attributes or read_attributes(obj.data))
            cloud = known[keys[pointer]]
            if len(cloud):
                placed.append((keys[pointer], SplatObject(cloud, np.array(instance.matrix_world, np.float64))))
            kept += len(cloud)
            originally += len(cloud) / max(obj.exgs.keep_ratio, 1e-6)
            guidance.append(obj.exgs.guidance)
        self._clouds = known
        return placed, kept / originally if originally else 1.0, together(guidance)

    def render(
        self,
        objects: Sequence[Placed],
        view: Cameras,
        settings: RenderSettings,
        python: Path,
        should_stop: Callable[[], bool],
        earlier: Sequence[Cameras] | None = None,
        background: F32 | None = None,
    ) -> ServerFrame:
        """One frame; see :meth:`exgs_blender.worker.client.RenderServer.render` for what it raises."""
        with self._lock:
            if self._server is None or self._python != python:
                self._close()
                self._server, self._python = RenderServer(python), python
            return self._server.render(objects, view, settings, earlier=earlier, background=background, should_stop=should_stop)

    @property
    def server_pid(self) -> int | None:
        """Process id of the server, None where none is running."""
        return self._server.pid if self._server and self._server.alive else None

    def close(self) -> None:
        """End the server; the next frame starts a new one."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = None
        self._clouds = {}


SESSION = RenderSession()
