# SPDX-License-Identifier: GPL-3.0-or-later
"""The 3D view's Rendered mode with the ExGS engine: frames of the worker, coarse while the view moves, complete when it is still.

Frames are asked for in a thread; the window never waits. What is drawn is the last frame that came.
"""

from __future__ import annotations

import itertools
import json
import weakref
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import gpu
import numpy as np
from gpu_extras.presets import draw_texture_2d  # type: ignore[import-not-found]

from ...errors import CancelledError, ExgsError
from ...splats.gaussians import F32
from ...worker.protocol import RenderSettings
from ..film import world_colour
from ..render_session import SESSION, Placed, hidden_in, owner_of
from ..splat_object import shown_splats
from ..worker_choice import chosen_python
from . import painter
from .draw import redraw
from .eye import Eye
from .regions import eye_of
from .sorter import LatestTasks
from .stages import Stage, reduced, stages

TICK_SECONDS = 1 / 60
TASKS = LatestTasks()
_numbers = itertools.count()
_shown: weakref.WeakValueDictionary[int, LiveRender] = weakref.WeakValueDictionary()
"""What each region shows, by the region's pointer."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """All that a picture of a view depends on.

    Attributes:
        background: [3] scene-linear, None where the film is transparent.
    """

    objects: tuple[Placed, ...]
    eye: Eye
    settings: RenderSettings
    background: F32 | None

    @property
    def name(self) -> str:
        """Equal for equal pictures."""
        objects = [(key, placed.world_from_object.tolist()) for key, placed in self.objects]
        eye = (self.eye.view_from_world.tolist(), self.eye.projection.tolist(), self.eye.width, self.eye.height)
        return json.dumps([objects, eye, asdict(self.settings), None if self.background is None else self.background.tolist()])


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """A frame that came, or why none did.

    Attributes:
        image: [h, w, 4] premultiplied scene-linear, row 0 at the top.
        cover: [h, w] opacity of the splats, without the background and before restoration.
    """

    name: str
    step: int
    stage: Stage
    image: F32 | None = None
    cover: F32 | None = None
    message: str = ""


class LiveRender:
    """What one 3D view in Rendered mode shows."""

    def __init__(self) -> None:
        self._number = next(_numbers)
        self._objects: tuple[Placed, ...] = ()
        self._owners: frozenset[str] = frozenset()
        self._hidden: frozenset[str] = frozenset()
        self._keep_ratio, self._guidance = 1.0, ""
        self._name = ""
        self._step = 0
        self._picture: Any = None
        self._cover: Any = None
        self._place = (0, 0, 1, 1)
        self.message = ""

    def collect(self, depsgraph: bpy.types.Depsgraph, space: bpy.types.SpaceView3D) -> None:
        """The scene changed: read its splats, as far as this 3D view shows them."""
        self._owners = frozenset(owner_of(instance) for instance in shown_splats(depsgraph))
        self._hidden = hidden_in(space, self._owners)
        objects, self._keep_ratio, self._guidance = SESSION.visible_splats(depsgraph, self._hidden)
        self._objects = tuple(objects)

    def draw(self, engine: bpy.types.RenderEngine, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """Draw the last frame; ask for the next one of this view."""
        scene = depsgraph.scene
        if hidden_in(context.space_data, self._owners) != self._hidden:  # of local view and local collections nobody is told
            self.collect(depsgraph, context.space_data)
        settings = (scene.exgs.source_scene or scene).exgs.render_settings(self._keep_ratio, self._guidance)
        background = None if scene.render.film_transparent else world_colour(scene.world)
        wanted = Wanted(self._objects, eye_of(context, antialiased=False), settings, background)
        steps, name = stages(settings), wanted.name
        self._take(steps, wanted.eye.height)
        if name != self._name:
            self._name, self._step = name, 0
            self._ask(wanted, steps)
        elif self._step < len(steps) and not TASKS.pending(self._number):
            self._ask(wanted, steps)
        self._show(engine, scene)
        _shown[context.region.as_pointer()] = self
        engine.update_stats("", f"ExGS: {' '.join(self.message.split())}" if self.message else "")

    def clear_overlays(self) -> None:
        """Take grid and lines away where splats are: Blender knows no depth of ours and has drawn them over the picture."""
        if self._cover is not None:
            painter.uncover(self._cover, self._place)

    def _take(self, steps: tuple[Stage, ...], height: int) -> None:
        """Take over the frame that has come; an older view's is better than none."""
        frame: LiveFrame | None = TASKS.take(self._number)
        if frame is None:
            return
        if frame.name == self._name:
            self._step = frame.step + 1 if frame.image is not None else len(steps)
            self.message = frame.message
        if frame.image is None or frame.cover is None:
            return
        size = frame.image.shape[1] * frame.stage.coarseness, frame.image.shape[0] * frame.stage.coarseness
        self._picture = painter.texture(frame.image[::-1], "RGBA16F")
        self._cover = painter.texture(frame.cover[::-1, :, None], "R16F")
        # A coarse frame is a little larger than the region where its size was rounded up, at the right and at the bottom.
        self._place = (0, height - size[1], *size)

    def _ask(self, wanted: Wanted, steps: tuple[Stage, ...]) -> None:
        try:
            python = chosen_python()
        except ExgsError as error:
            self._step, self.message = len(steps), str(error)
            return
        name, step, stage = self._name, self._step, steps[self._step]
        if self._picture is None:
            self.message = "starting the renderer"
        TASKS.submit(self._number, lambda: _frame(LiveFrame(name, step, stage), wanted, python, lambda: self._name != name))
        if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=TICK_SECONDS)

    def _show(self, engine: bpy.types.RenderEngine, scene: bpy.types.Scene) -> None:
        if self._picture is None:
            return
        left, bottom, width, height = self._place
        gpu.state.blend_set("ALPHA_PREMULT")
        engine.bind_display_space_shader(scene)
        draw_texture_2d(self._picture, (left, bottom), width, height)
        engine.unbind_display_space_shader()
        gpu.state.blend_set("NONE")


def _frame(asked: LiveFrame, wanted: Wanted, python: Path, outdated: Any) -> LiveFrame:
    """Render one stage of a view; runs in the thread."""
    view = reduced(wanted.eye.cameras, asked.stage.coarseness)
    settings = replace(wanted.settings, restore=asked.stage.restore)
    if wanted.objects:
        try:
            frame = SESSION.render(wanted.objects, view, settings, python, outdated, background=wanted.background)
        except CancelledError:
            return replace(asked, message="the view moved")
        except ExgsError as error:
            return replace(asked, message=str(error))
        return replace(asked, image=frame.combined, cover=1.0 - frame.mask, message=frame.backend)
    image = np.zeros((int(view.heights[0]), int(view.widths[0]), 4), np.float32)
    if wanted.background is not None:
        image[:] = (*wanted.background, 1.0)
    return replace(asked, image=image, cover=np.zeros(image.shape[:2], np.float32))


def _clear_overlays() -> None:
    context = bpy.context
    if context.space_data.shading.type == "RENDERED" and context.engine == "EXGS":
        live = _shown.get(context.region.as_pointer())
        if live is not None:
            live.clear_overlays()


def _tick() -> float | None:
    if TASKS.has_results:
        redraw()
    return TICK_SECONDS if TASKS.busy or TASKS.has_results else None


CLASSES = ()
_handles: list[Any] = []


def register() -> None:
    _handles.append(bpy.types.SpaceView3D.draw_handler_add(_clear_overlays, (), "WINDOW", "POST_VIEW"))


def unregister() -> None:
    for handle in _handles:
        bpy.types.SpaceView3D.draw_handler_remove(handle, "WINDOW")
    _handles.clear()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    TASKS.close()
