# SPDX-License-Identifier: GPL-3.0-or-later
"""The views of the frames before the one that is rendered: what stabilising its restoration needs.

They are evaluated by the render's own dependency graph, as Cycles does for motion blur: parents, constraints, drivers and markers
count. So a frame's result depends on the file and the frame number alone, not on where a farm cut the animation.
"""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ..cameras import Cameras
from ..errors import ExgsError
from ..worker.protocol import STEADY_FRAMES
from .render_session import shown_state


def earlier_views(
    engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph, leader: bpy.types.Scene, view: Callable[[], Cameras]
) -> list[Cameras]:
    """At most STEADY_FRAMES views, the nearest frame first, as many steps of the animation back.

    They end where splats moved or changed, or where a marker switched the camera. The graph is at its own frame again afterwards,
    but evaluated anew: what was taken from it before is not to be used.

    Args:
        leader: the scene whose camera, markers and frame step count.
        view: the camera as the graph now has it.
    """
    frame, subframe = depsgraph.scene.frame_current, depsgraph.scene.frame_subframe
    shown, camera = shown_state(depsgraph), marker_camera(leader, frame)
    found: list[Cameras] = []
    try:
        for back in range(1, STEADY_FRAMES + 1):
            before = frame - back * leader.frame_step
            engine.frame_set(before, subframe)
            if shown_state(depsgraph) != shown or marker_camera(leader, before) != camera:
                break
            found.append(view())
    except ExgsError:  # no camera there that could be rendered: the shot begins after it
        pass
    finally:
        engine.frame_set(frame, subframe)
    return found


def marker_camera(scene: bpy.types.Scene, frame: int) -> bpy.types.Object | None:
    """The camera that markers bind to a frame, by Blender's rule: the last one until then, else the first of all."""
    bound = sorted((m.frame, m.camera.name, m.camera) for m in scene.timeline_markers if m.camera and not m.camera.hide_render)
    until = [camera for start, _, camera in bound if start <= frame]
    return until[-1] if until else bound[0][2] if bound else None
