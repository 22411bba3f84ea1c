# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job in Blender: import, compress, fly past, composite over Cycles, five frames."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from exgs_blender.blender import compositor
from exgs_blender.blender.camera_animation import shot_cameras
from exgs_blender.blender.job_runner import RUNNER
from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import NATIVE, gaussians_of
from exgs_blender.blender.splat_scene import splat_scene_of
from exgs_blender.blender.worker_choice import chosen_python
from exgs_blender.splats import SplatObject
from exgs_blender.worker.client import RenderServer

from . import stage

FRAMES = 5
IN_FRONT, BEHIND = (1.35, -1.9, 1.15), (-0.65, 0.75, 1.1)
BALL_POINT = (0.0, 0.0, 0.85)


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    scene = stage.start()
    scene.render.resolution_x, scene.render.resolution_y = 128, 96
    bpy.ops.exgs.import_splats(filepath=stage.write_capture(request["folder"]), up="Z_UP")
    result = {"compress": _compress(folder)} if request["compress"] else {}
    splats = bpy.context.object
    _film_set(scene)
    nodes = _own_nodes(scene)
    bpy.ops.exgs.setup_compositing()
    once = _inventory(scene)
    bpy.ops.exgs.setup_compositing()
    result |= {"once": once, "twice": _inventory(scene), "nodes kept": _own_nodes_kept(scene, nodes)}
    result |= {"frames": _render(scene, folder / "frame"), **_expected(scene, splats, folder)}
    _slide_out(scene)
    result["other camera"] = _render(scene, folder / "marker")[2]
    bpy.ops.exgs.remove_compositing()
    result |= {"removed": _inventory(scene), "nodes after": _own_nodes_kept(scene, nodes, removed=True)}
    result["without"] = _render(scene, folder / "without")[0]
    result["native"] = NATIVE
    result["visible again"] = bool(splats.visible_camera and splats.visible_shadow)
    SESSION.close()
    return result


def _compress(folder: Path) -> dict[str, Any]:
    """By the operator, in the background; the result takes the original's place."""
    original = bpy.context.object
    bpy.ops.exgs.compress(filepath=str(folder / "capture.exgs"), ratio=25, views="EVERYWHERE")
    task = RUNNER.running[0]
    stages = set()
    while task.state == "running":
        RUNNER.poll()
        stages.add(task.stage)
    result = bpy.context.object
    return {
        "state": task.state,
        "message": task.message,
        "stages": sorted(stages),
        "original hidden": original.hide_render,
        "points": [len(obj.data.attributes["position"].data) for obj in (original, result)],
        "same place": result.matrix_world == original.matrix_world,
        "keep ratio": result.exgs.keep_ratio,
    }


def _film_set(scene: bpy.types.Scene) -> None:
    """A camera that swings around the ball by 20 degrees; cubes in front of it and behind it; a grey sky."""
    camera = stage.add_camera(scene, (3, -4, 2.0))
    pivot = bpy.data.objects.new("pivot", None)
    scene.collection.objects.link(pivot)
    camera.parent = pivot
    for frame, angle in ((1, 0), (FRAMES, math.radians(20))):
        pivot.rotation_euler.z = angle
        pivot.keyframe_insert("rotation_euler", frame=frame)
    stage.add_glowing_cube(scene, "front", IN_FRONT, 0.25, (0, 1, 0))
    stage.add_glowing_cube(scene, "behind", BEHIND, 0.9, (0, 0, 1))
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    sky = next(node for node in world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
    sky.inputs["Color"].default_value = (0.2, 0.2, 0.2, 1)
    sky.inputs["Strength"].default_value = 1
    scene.world = world
    scene.frame_start, scene.frame_end = 1, FRAMES
    stage.use_cycles(scene)


def _own_nodes(scene: bpy.types.Scene) -> dict[str, Any]:
    """An artist's chain in the compositor: the render, flipped in colour by a node group of theirs."""
    tree = compositor.tree_of(scene, create=True)
    layers = next((n for n in tree.nodes if n.bl_idname == "CompositorNodeRLayers"), None) or tree.nodes.new("CompositorNodeRLayers")
    layers.scene = scene
    output = compositor._output_node(tree)
    mine = tree.nodes.new("CompositorNodeFlip")
    mine.name = "mine"
    mine.location = (11, 22)
    unflip = tree.nodes.new("CompositorNodeFlip")
    tree.links.new(layers.outputs["Image"], mine.inputs[0])
    tree.links.new(mine.outputs[0], unflip.inputs[0])
    tree.links.new(unflip.outputs[0], output.inputs[0])
    return {"nodes": [n.name for n in tree.nodes], "links": _links(tree), "last": unflip.name, "output": output.name}


def _links(tree: bpy.types.NodeTree) -> list[tuple[str, ...]]:
    return sorted((x.from_node.name, x.from_socket.name, x.to_node.name, x.to_socket.name) for x in tree.links)


def _own_nodes_kept(scene: bpy.types.Scene, before: dict[str, Any], removed: bool = False) -> bool:
    """All nodes are there with all their links, but for the one into the output (which is back after a removal)."""
    tree = compositor.tree_of(scene, create=False)
    links = _links(tree)
    expected = [link for link in before["links"] if removed or link[2] != before["output"]]
    feeds_cg = removed or any(link[0] == before["last"] and link[2:] == (compositor.MERGE_NODE, "CG") for link in links)
    whole = removed is False or (links == before["links"] and sorted(before["nodes"]) == sorted(n.name for n in tree.nodes))
    there = set(before["nodes"]) <= {n.name for n in tree.nodes} and set(expected) <= set(links)
    return there and feeds_cg and whole and tuple(tree.nodes["mine"].location) == (11, 22)


def _inventory(scene: bpy.types.Scene) -> dict[str, int]:
    tree = compositor.tree_of(scene, create=False)
    splats = splat_scene_of(scene)
    return {
        "scenes": len(bpy.data.scenes),
        "nodes": len(tree.nodes),
        "links": len(tree.links),
        "trees": len(bpy.data.node_groups),
        "splat objects": len(splats.collection.objects) if splats else 0,
    }


def _render(scene: bpy.types.Scene, path: Path) -> list[str]:
    scene.render.filepath = f"{path}-####"
    bpy.ops.render.render(animation=True)
    return [f"{path}-{frame:04d}.png" for frame in range(1, FRAMES + 1)]


def _expected(scene: bpy.types.Scene, splats: bpy.types.Object, folder: Path) -> dict[str, Any]:
    """What the frames have to show: points by Blender's own projection, and the worker's own picture of frame 3."""
    pixels = []
    for frame in range(1, FRAMES + 1):
        scene.frame_set(frame)
        pixels.append({name: stage.pixel_of(scene, at) for name, at in (("front", IN_FRONT), ("ball", BALL_POINT), ("behind", BEHIND))})
    placed = SplatObject(gaussians_of(splats, bpy.context.evaluated_depsgraph_get()), np.array(splats.matrix_world))
    server = RenderServer(chosen_python())
    frame = server.render([("only", placed)], shot_cameras(bpy.context, [3]), scene.exgs.render_settings(1.0))
    server.close()
    np.savez(folder / "worker.npz", combined=frame.combined, mask=frame.mask, depth=frame.depth)
    return {"pixels": pixels, "worker": str(folder / "worker.npz")}


def _slide_out(scene: bpy.types.Scene) -> None:
    """A second camera by a marker at frame 3: the splats must be seen through it, too."""
    first = scene.camera
    second = stage.add_camera(scene, (-3, -4, 2.0))
    for frame, camera in ((1, first), (3, second)):
        scene.timeline_markers.new(f"cut{frame}", frame=frame).camera = camera
    bpy.ops.exgs.setup_compositing()
