# SPDX-License-Identifier: GPL-3.0-or-later
"""The render engine "ExGS": Blender asks for a frame, the worker's server renders it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from ..cameras import Cameras
from ..errors import CancelledError, ExgsError
from ..splats.gaussians import F32
from .camera_animation import cropped, view_of
from .earlier_frames import earlier_views
from .film import world_colour
from .frame_rate import RATE
from .render_session import SESSION
from .worker_choice import chosen_python

log = logging.getLogger(__name__)

PASSES = {"Combined": ("RGBA", "COLOR"), "Depth": ("Z", "VALUE"), "Mask": ("X", "VALUE"), "Unrestored": ("RGBA", "COLOR")}
NOTHING_HIT = 1e10
"""Depth where no splat is: what Cycles writes for the sky."""
ERROR_COLOUR = (1.0, 0.0, 1.0, 1.0)
"""A frame that failed is magenta, as a missing texture is: one inside an animation cannot be overlooked."""

STRIP_ROWS = 64
"""A picture is handed over in strips of so many rows: their memory is used again for the next strip and stays in the processor's cache,
while that of a whole picture is new to the process each time and takes ten times as long to fill."""


class ExgsRenderEngine(bpy.types.RenderEngine):
    """Renders all visible splat objects of a scene; everything else in it is ignored."""

    bl_idname = "EXGS"
    bl_label = "ExGS"
    bl_use_preview = False
    bl_use_postprocess = True

    def update_render_passes(self, scene: Any = None, renderlayer: Any = None) -> None:
        for name, (channels, kind) in PASSES.items():
            self.register_pass(scene, renderlayer, name, len(channels), channels, kind)

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        started = time.perf_counter()
        window = self._window(depsgraph)
        restoring: float | None = None
        try:
            planes, restoring = self._planes(depsgraph, window)
        except CancelledError:
            return
        except ExgsError as error:
            planes = self._fail(str(error), window)
        except Exception as error:  # a bug: details to the log, one line to the user
            log.exception("rendering frame %d", depsgraph.scene.frame_current)
            planes = self._fail(f"unexpected {type(error).__name__}: {error}", window)
        self._fill(depsgraph.view_layer.name, planes, window)
        if restoring is not None:
            RATE.measured(time.perf_counter() - started, restoring)
            self.update_stats("", f"ExGS: {RATE.words}")

    def view_update(self, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """The 3D view's Rendered mode: something in the scene changed."""
        self._live.collect(depsgraph, context.space_data)

    def view_draw(self, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """Draw a region in Rendered mode; never waits for the worker."""
        self._live.draw(self, context, depsgraph)

    @property
    def _live(self) -> Any:
        """What this engine shows in its 3D view; made at the first draw, since renders of frames never need it."""
        if not hasattr(self, "live_render"):
            from .viewport.live import LiveRender

            self.live_render = LiveRender()
        return self.live_render

    def _planes(self, depsgraph: bpy.types.Depsgraph, window: Window) -> tuple[dict[str, F32], float]:
        """The passes by name, [H, W, C] or [H, W], row 0 at the top, and the seconds that restoration took."""
        self.update_stats("", "ExGS: collecting splats")
        scene, leader = depsgraph.scene, leading_scene(depsgraph.scene)
        view = self._view(depsgraph, leader, window)
        objects, keep_ratio, guidance = SESSION.visible_splats(depsgraph)
        background = None if scene.render.film_transparent else world_colour(scene.world)
        if not objects:
            return blank_planes(window, background), 0.0
        words = f"ExGS: rendering {sum(len(placed.gaussians) for _, placed in objects):,} splats"
        self.update_stats("", f"{words}, {RATE.words}" if RATE.words else words)
        settings, earlier = leader.exgs.render_settings(keep_ratio, guidance), None
        if settings.restore and leader.exgs.stabilise and keep_ratio < 1:
            earlier = earlier_views(self, depsgraph, leader, lambda: self._view(depsgraph, leader, window))
        frame = SESSION.render(objects, view, settings, chosen_python(), self.test_break, earlier, background)
        self.update_stats("", f"ExGS: {frame.backend}")
        planes = {"Combined": frame.combined, "Depth": frame.depth, "Mask": frame.mask, "Unrestored": frame.unrestored}
        return planes, frame.seconds["restore"]

    def _view(self, depsgraph: bpy.types.Depsgraph, leader: bpy.types.Scene, window: Window) -> Cameras:
        scene = depsgraph.scene
        camera = self.camera_override if leader == scene and self.camera_override else leader.camera
        if camera is not None:
            original = camera.original
            camera = original.evaluated_get(depsgraph)
            if camera == original:
                raise ExgsError(f"camera '{camera.name}' is not in scene '{scene.name}'; run Set Up Compositing again")
        view = view_of(camera, leader.render, scene.frame_current, (window.full_width, window.full_height))
        if window.whole:
            return view
        return cropped(view, window.left, window.full_height - window.bottom - window.height, window.width, window.height)

    def _window(self, depsgraph: bpy.types.Depsgraph) -> Window:
        """The part of the image that Blender wants: its result has the size of the render border."""
        wanted = self.get_result()
        return window_of(
            leading_scene(depsgraph.scene).render, (self.resolution_x, self.resolution_y), (wanted.resolution_x, wanted.resolution_y)
        )

    def _fail(self, message: str, window: Window) -> dict[str, F32]:
        """Tell the user in one line; the picture is magenta and in front of everything."""
        line = f"ExGS: {' '.join(message.split())}"
        SESSION.failures.append(line)
        self.update_stats("", line)
        self.report({"ERROR"}, line)
        shape = (window.height, window.width)
        image = np.broadcast_to(np.array(ERROR_COLOUR, np.float32), (*shape, 4))
        return {"Combined": image, "Unrestored": image, "Depth": np.zeros(shape, np.float32), "Mask": np.zeros(shape, np.float32)}

    def _fill(self, layer_name: str, planes: dict[str, F32], window: Window) -> None:
        for name, (channels, _) in PASSES.items():
            if name != "Combined":
                self.add_pass(name, len(channels), channels, layer=layer_name)
        # Blender's rows run upwards, as the memory of what the server sent does.
        upwards = {name: np.ascontiguousarray(plane[::-1], np.float32) for name, plane in planes.items()}
        for bottom in range(0, window.height, STRIP_ROWS):
            rows = slice(bottom, min(bottom + STRIP_ROWS, window.height))
            result = self.begin_result(0, bottom, window.width, rows.stop - bottom, layer=layer_name)
            for render_pass in result.layers[0].passes:
                if render_pass.name in upwards:
                    render_pass.rect.foreach_set(upwards[render_pass.name][rows].reshape(-1))
            self.end_result(result)


@dataclass(frozen=True)
class Window:
    """A rectangle of the full image in pixels, counted from the bottom left."""

    left: int
    bottom: int
    width: int
    height: int
    full_width: int
    full_height: int

    @property
    def whole(self) -> bool:
        return (self.width, self.height) == (self.full_width, self.full_height)


def window_of(render: bpy.types.RenderSettings, full: tuple[int, int], wanted: tuple[int, int]) -> Window:
    """Where in an image of ``full`` size a result of ``wanted`` size lies: at the render border's corner."""
    if wanted == full:
        return Window(0, 0, *full, *full)
    left = int(np.float32(render.border_min_x) * np.float32(full[0]))
    bottom = int(np.float32(render.border_min_y) * np.float32(full[1]))
    return Window(left, bottom, *wanted, *full)


def leading_scene(scene: bpy.types.Scene) -> bpy.types.Scene:
    """The scene whose camera and settings count: for a splat scene the one that it is composited into."""
    return scene.exgs.source_scene or scene


def blank_planes(window: Window, background: F32 | None) -> dict[str, F32]:
    """The passes of a view without splats (nothing there, so nothing to repair); the background is a linear colour [3], if there is one."""
    shape = (window.height, window.width)
    image = np.zeros((*shape, 4), np.float32)
    if background is not None:
        image[:] = (*background, 1.0)
    return {
        "Combined": image,
        "Unrestored": image,
        "Depth": np.full(shape, NOTHING_HIT, np.float32),
        "Mask": np.ones(shape, np.float32),
    }


CLASSES = (ExgsRenderEngine,)


def _shared_panels() -> list[Any]:
    """Blender's own property panels that make sense for any renderer."""
    unfit = ("filter", "layer_passes", "eevee", "simplify", "freestyle", "gpencil", "grease")
    return [
        panel
        for panel in bpy.types.Panel.__subclasses__()
        if "BLENDER_RENDER" in getattr(panel, "COMPAT_ENGINES", ()) and not any(word in panel.__name__.lower() for word in unfit)
    ]


def register() -> None:
    for panel in _shared_panels():
        panel.COMPAT_ENGINES.add(ExgsRenderEngine.bl_idname)


def unregister() -> None:
    for panel in bpy.types.Panel.__subclasses__():
        getattr(panel, "COMPAT_ENGINES", set()).discard(ExgsRenderEngine.bl_idname)
    SESSION.close()
