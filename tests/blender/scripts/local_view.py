# SPDX-License-Identifier: GPL-3.0-or-later
"""Which captures a 3D view shows: local view, filters, hidden objects, excluded collections, instances."""

from __future__ import annotations

from typing import Any

import bpy

from exgs_blender.blender.render_session import hidden_in
from exgs_blender.blender.splat_object import create_splat_object
from exgs_blender.blender.viewport.clouds import SceneClouds
from exgs_blender.blender.viewport.live import LiveRender

from . import stage

SIZES = {"a": 11, "b": 22, "c": 44}


def run(request: dict[str, Any]) -> dict[str, Any]:
    import exgs_blender

    exgs_blender.register()
    bpy.ops.wm.read_factory_settings()
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    space, region = area.spaces.active, next(region for region in area.regions if region.type == "WINDOW")
    a, b, c = (create_splat_object(bpy.context, name, stage.ball(count)) for name, count in SIZES.items())
    apart = bpy.data.collections.new("apart")
    bpy.context.scene.collection.children.link(apart)
    bpy.context.collection.objects.unlink(c)
    apart.objects.link(c)
    instance = bpy.data.objects.new("instance", None)
    instance.instance_type, instance.instance_collection = "COLLECTION", apart
    bpy.context.scene.collection.objects.link(instance)
    found = {"all": _seen(space)}
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.view3d.localview(frame_selected=False)
        for obj in (a, b, c, instance):
            obj.local_view_set(space, obj in (b, instance))
        if b.local_view_get(space):  # without a window Blender 4 forgets at once what was set
            found["local view"] = _seen(space)
        bpy.ops.view3d.localview(frame_selected=False)
    found["left again"] = _seen(space)
    setattr(space, f"show_object_viewport_{'pointcloud' if a.type == 'POINTCLOUD' else 'mesh'}", False)
    found["filtered by type"] = _seen(space)
    setattr(space, f"show_object_viewport_{'pointcloud' if a.type == 'POINTCLOUD' else 'mesh'}", True)
    a.hide_set(True)
    found["a hidden"] = _seen(space)
    a.hide_set(False)
    b.hide_viewport = True
    found["b disabled"] = _seen(space)
    b.hide_viewport = False
    bpy.context.view_layer.layer_collection.children["apart"].exclude = True
    found["c excluded"] = _seen(space)
    return found


def _seen(space: bpy.types.SpaceView3D) -> dict[str, list[int]]:
    """Sizes of the clouds, in Rendered mode and in Solid mode."""
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    live = LiveRender()
    live.collect(depsgraph, space)
    snapshot = SceneClouds().snapshot(bpy.context.scene, bpy.context.view_layer, depsgraph, set())
    hidden = hidden_in(space, {item.owner for item in snapshot.shown})
    counts = {key: len(placed.gaussians) for key, placed in live._objects}
    sizes = dict(zip((item.key for item in snapshot.shown), map(_size_of, snapshot.shown), strict=True))
    return {
        "rendered": sorted(counts[key] for key, _ in live._objects),
        "solid": sorted(sizes[item.key] for item in snapshot.shown if item.owner not in hidden),
    }


def _size_of(item: Any) -> int:
    owner = bpy.data.objects[item.owner]
    return SIZES["c" if owner.instance_collection else owner.name]
