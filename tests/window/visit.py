# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user would do in an afternoon, in Blender's window: install, import, look, edit, compress, render, composite, leave.

Started by ``run.py`` as ``blender --python visit.py``; needs nothing but the zip, a capture and, for the second half, a worker.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from mathutils import Quaternion, Vector

sys.path.insert(0, str(Path(__file__).resolve().parent))
from session import FACTS, OUT, REQUEST, area, drive, install, look, module, settled, shot, sidebar, space, until, window

ADDON = "bl_ext.user_default.exgs_blender"
GREEN = (0.0, 1.0, 0.0, 1.0)
HEIGHT = 1.8
"""The capture is scaled so that it is so high."""
CENTRE = Vector((0, 0, HEIGHT / 2))
FRONT = -1.95
"""Turn of the view at which the capture is seen from the front."""


def steps() -> Iterator[float]:
    yield from install()
    bpy.context.scene.view_settings.view_transform = "Standard"
    yield from _import()
    yield from _turn()
    yield from _toggle()
    yield from _occlusion()
    yield from _edits()
    yield from _shadings()
    if REQUEST["worker"]:
        yield from _rendered()
        yield from _compress()
        yield from _f12()
        yield from _composite()
    yield from _leave()


def _import() -> Iterator[float]:
    bpy.ops.exgs.import_splats(filepath=REQUEST["capture"])
    obj = bpy.context.object
    bpy.context.view_layer.update()
    corners = [obj.matrix_world @ Vector(corner) for corner in obj.bound_box]
    low, high = (Vector(map(pick, zip(*corners, strict=True))) for pick in (min, max))
    scale = HEIGHT / (high.z - low.z)
    obj.scale = (scale,) * 3
    obj.location = Vector((-(low.x + high.x) / 2, -(low.y + high.y) / 2, -low.z)) * scale
    FACTS["splats"] = len(obj.data.attributes["position"].data)
    bpy.ops.ed.undo_push(message="import")
    look(CENTRE, 2.6, FRONT)
    yield from settled()
    FACTS["told"] = module("viewport.draw").VIEWPORT.told
    yield from sidebar(True)
    yield from shot("solid")
    yield from sidebar(False)


def _turn() -> Iterator[float]:
    """Round the capture: a shot while it moves, and one when it is still; then in place, away and back."""
    region = space().region_3d
    yield from settled()
    yield from shot("front")
    for _ in range(8):
        region.view_rotation = Quaternion((0, 0, 1), 0.25) @ region.view_rotation
        yield 0.1
    yield from shot("orbit moving", wait=0.0)
    yield from settled()
    FACTS["told after orbit"] = module("viewport.draw").VIEWPORT.told
    yield from shot("orbit")
    eye = region.view_location + region.view_rotation @ Vector((0, 0, region.view_distance))
    before = region.view_rotation.copy()
    for angle in (0.9, 0.9, 0.9, -0.9, -0.9, -0.9):
        region.view_rotation = region.view_rotation @ Quaternion((0, 1, 0), angle)
        region.view_location = eye - region.view_rotation @ Vector((0, 0, region.view_distance))
        yield 0.3
    region.view_rotation = before
    region.view_location = CENTRE
    yield from settled()
    yield from shot("turned back")
    look(CENTRE, 2.6, FRONT)


def _toggle() -> Iterator[float]:
    settings = bpy.context.scene.exgs.viewport
    settings.show = False
    yield from shot("off", wait=1.0)
    settings.show = True
    space().overlay.show_overlays = False
    yield from settled()
    yield from shot("without overlays")
    space().overlay.show_overlays = True


def _occlusion() -> Iterator[float]:
    """A green ring around the figure: in front at the front, hidden at the back."""
    bpy.ops.mesh.primitive_torus_add(
        location=(0, 0, HEIGHT * 0.55), major_radius=0.32, minor_radius=0.04, major_segments=96, minor_segments=24, rotation=(0.25, -0.2, 0)
    )
    ring = bpy.context.object
    ring.name = "ring"
    bpy.ops.object.shade_smooth()
    ring.color = GREEN
    ring.select_set(False)
    shading = space().shading
    shading.light, shading.color_type = "FLAT", "OBJECT"
    yield from settled()
    yield from shot("ring")
    bpy.context.scene.exgs.viewport.show = False
    yield from shot("ring alone", wait=1.0)
    bpy.context.scene.exgs.viewport.show = True
    shading.light, shading.color_type = "STUDIO", "MATERIAL"
    material = bpy.data.materials.new("ring")
    material.diffuse_color = (0.9, 0.35, 0.05, 1)
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = material.diffuse_color
    shader.inputs["Roughness"].default_value = 0.35
    ring.data.materials.append(material)
    yield from settled()
    yield from shot("ring shaded")


def _edits() -> Iterator[float]:
    """Move the object; make half of its points transparent; undo."""
    obj = _capture()
    bpy.ops.ed.undo_push(message="ring")
    obj.location.x += 0.5
    yield from shot("moved", wait=1.5)
    obj.location.x -= 0.5
    _clear_upper_half(obj.data)
    obj.data.update_tag()
    bpy.ops.ed.undo_push(message="half gone")
    yield 1.0
    yield from settled()
    yield from shot("half")
    with window():
        bpy.ops.ed.undo()
    yield 1.0
    yield from settled()
    yield from shot("undone")


def _capture() -> Any:
    return next(o for o in bpy.context.scene.objects if o.type in ("POINTCLOUD", "MESH") and o.data.attributes.get("radiance:base"))


def _clear_upper_half(data: Any) -> None:
    """Opacity 0 for the points above the middle, as an artist would through the attribute."""
    positions, base = data.attributes["position"].data, data.attributes["radiance:base"].data
    name = "color" if hasattr(base[0], "color") else "vector"
    heights, values = [0.0] * (len(base) * 3), [0.0] * (len(base) * 4)
    positions.foreach_get("vector", heights)
    base.foreach_get(name, values)
    heights = heights[1::3]
    middle = (min(heights) + max(heights)) / 2
    values[3::4] = [0.0 if height < middle else alpha for height, alpha in zip(heights, values[3::4], strict=True)]  # -Y is up
    base.foreach_set(name, values)


def _shadings() -> Iterator[float]:
    shading = space().shading
    shading.type = "WIREFRAME"
    yield from shot("wireframe", wait=1.0)
    shading.type = "MATERIAL"
    yield 12.0
    yield from settled()
    yield from shot("material", wait=4.0)
    shading.type = "SOLID"


def _rendered() -> Iterator[float]:
    """Rendered mode: the worker's frames, coarse first; over a transparent film, then over the world's colour."""
    scene = bpy.context.scene
    bpy.data.objects["ring"].hide_viewport = True
    scene.render.engine = "EXGS"
    scene.render.film_transparent = True
    scene.exgs.restore = False
    space().shading.type = "RENDERED"
    yield 2.0
    yield from until(_live_is_complete)
    yield from shot("rendered", wait=1.0)
    region = space().region_3d
    region.view_rotation = Quaternion((0, 0, 1), 0.4) @ region.view_rotation
    yield 0.2
    yield from until(lambda: module("viewport.live").TASKS.busy or _live_is_complete())
    yield from shot("rendered moving", wait=0.2)
    scene.render.film_transparent = False
    yield 0.5
    yield from until(_live_is_complete)
    yield from shot("rendered over world", wait=1.0)
    bpy.data.objects["ring"].hide_viewport = False
    yield from _local_view(bpy.data.objects["ring"])
    space().shading.type = "SOLID"


def _local_view(obj: bpy.types.Object) -> Iterator[float]:
    """One object alone in the view: the capture is not there."""
    capture = _capture()
    capture.select_set(False)
    obj.select_set(True)
    for name in ("rendered local view", "rendered after local view"):
        with window():
            bpy.ops.view3d.localview(frame_selected=False)
        yield 1.0
        yield from until(_live_is_complete)
        yield from shot(name, wait=1.0)
    obj.select_set(False)
    capture.select_set(True)


def _live_is_complete() -> bool:
    tasks = module("viewport.live").TASKS
    area().tag_redraw()
    return not tasks.busy and not tasks.has_results


def _compress() -> Iterator[float]:
    obj = _capture()
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)
    yield from sidebar(True)
    bpy.ops.exgs.compress(filepath=str(OUT / "compressed.exgs"), ratio=20.0, views="EVERYWHERE", replace_original=True)
    runner = module("job_runner").RUNNER
    yield 4.0
    yield from shot("compressing")
    yield from until(lambda: not runner.running, patience=600)
    FACTS["compression"] = [f"{task.state}: {task.message}" for task in runner.ended]
    yield from settled()
    FACTS["splats after compression"] = len(bpy.context.object.data.attributes["position"].data)
    yield from shot("compressed", wait=2.0)
    yield from sidebar(False)


def _f12() -> Iterator[float]:
    """The ExGS engine alone, restored, shown where Blender shows renders."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    camera.data.lens = 65
    eye = CENTRE + Quaternion((0, 0, 1), FRONT) @ Vector((0, -4.4, 0.55))
    camera.location, camera.rotation_euler = eye, (CENTRE - eye).to_track_quat("-Z", "Y").to_euler()
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 720, 960, 100
    scene.exgs.restore = True
    yield from _render("render", 1.0)
    yield from sidebar(True)
    yield from shot("after the render", wait=1.0)
    yield from sidebar(False)


def _composite() -> Iterator[float]:
    """Cycles with the ring, a floor and a light, and the splats among them."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 24
    scene.cycles.use_denoising = False
    scene.render.film_transparent = False
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.35, 0.45, 0.6, 1)
    with window():
        bpy.ops.mesh.primitive_plane_add(size=200)
    bpy.ops.exgs.setup_compositing()
    yield 1.0
    yield from _render("composite", 1.0)


def _render(name: str, wait: float) -> Iterator[float]:
    """F12 to a file, and its picture in an image editor in place of the 3D view."""
    scene = bpy.context.scene
    scene.render.filepath = str(OUT / f"{name}.png")
    bpy.ops.render.render(write_still=True)
    FACTS["shots"][name] = f"{name}.png"
    area().type = "IMAGE_EDITOR"
    space().image = bpy.data.images["Render Result"]
    yield wait
    with window():
        bpy.ops.image.view_all(fit_view=True)
    yield from shot(f"{name} window", wait=wait)
    area().type = "VIEW_3D"
    yield 1.0


def _leave() -> Iterator[float]:
    """Nothing of ours stays: another file, and the add-on disabled."""
    bpy.ops.wm.read_homefile(use_empty=False, app_template="")
    yield 1.0
    FACTS["clouds after another file"] = len(module("viewport.draw").VIEWPORT.clouds.keys)
    yield from shot("another file", wait=1.0)
    bpy.ops.preferences.addon_disable(module=ADDON)
    FACTS["threads after disabling"] = [thread.name for thread in threading.enumerate() if thread.name.startswith("exgs")]
    yield from shot("disabled", wait=1.0)


drive(steps())
