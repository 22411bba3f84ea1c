# SPDX-License-Identifier: GPL-3.0-or-later
"""Points deleted, separated, duplicated, moved by geometry nodes; objects turned, applied and joined: what comes out of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from exgs_blender import formats
from exgs_blender.blender.content import CONTENT
from exgs_blender.blender.job_runner import RUNNER
from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import create_splat_object
from exgs_blender.splats import Gaussians, concatenate
from exgs_blender.splats.ellipsoids import covariances_of
from exgs_blender.splats.transforms import transformed
from tests.clouds import random_gaussians

from . import stage

CLOUD = random_gaussians(200, 3, seed=11)
OTHER = random_gaussians(120, 3, seed=12)


def run(request: dict[str, Any]) -> dict[str, Any]:
    stage.start()
    result = {
        "deleted": _deleted(),
        "duplicated": _duplicated(),
        "nodes": _through_nodes(),
        "applied": _applied(),
        "joined": _joined(),
        "joined by Blender": _joined_by_blender(),
        "refused": _refused(),
        "compressed": _compressed(Path(request["folder"])),
    }
    SESSION.close()
    return result


def _clear() -> None:
    bpy.data.batch_remove([*bpy.data.objects])


def _object(name: str, cloud: Gaussians, location: Any = (0, 0, 0), turn: Any = (0, 0, 0), scale: Any = (1, 1, 1)) -> bpy.types.Object:
    obj = create_splat_object(bpy.context, name, cloud)
    obj.location, obj.rotation_euler, obj.scale = location, turn, scale
    _select(obj)
    return obj


def _select(*objects: bpy.types.Object) -> None:
    """Select these alone; the first is active."""
    for obj in bpy.data.objects:
        obj.select_set(obj in objects)
    bpy.context.view_layer.objects.active = objects[0]
    bpy.context.view_layer.update()


def _seen() -> Gaussians:
    """What a render gets, in world space."""
    placed, *_ = SESSION.visible_splats(bpy.context.evaluated_depsgraph_get())
    (one,) = placed
    return transformed(one[1].gaussians, one[1].world_from_object)


def _difference(found: Gaussians, expected: Gaussians) -> float:
    """Largest difference in means, covariances, opacities and colours, with the points in one order."""
    if len(found) != len(expected):
        return float("inf")
    found, expected = (cloud.select(np.argsort(cloud.opacities)) for cloud in (found, expected))
    pairs = [(getattr(found, name), getattr(expected, name)) for name in ("means", "opacities", "sh0", "shN")]
    pairs.append((covariances_of(found), covariances_of(expected)))
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def _deleted() -> dict[str, Any]:
    _clear()
    obj = _object("capture", CLOUD)
    before = _content()
    _delete(obj, np.arange(200) < 80)
    seen = _seen()
    return {"left": len(seen), "off": _difference(seen, CLOUD.select(slice(80, None))), "another content": before != _content()}


def _content() -> str:
    graph = bpy.context.evaluated_depsgraph_get()
    return next(CONTENT.key(instance, graph)[0] for instance in graph.object_instances)


def _delete(obj: bpy.types.Object, chosen: Any) -> None:
    """Select points and press X in edit mode; vertices where there are no point clouds."""
    if obj.type == "POINTCLOUD":
        selection = obj.data.attributes.get(".selection") or obj.data.attributes.new(".selection", "BOOLEAN", "POINT")
        selection.data.foreach_set("value", chosen)
    else:
        obj.data.vertices.foreach_set("select", chosen)
    bpy.ops.object.mode_set(mode="EDIT")
    if obj.type == "POINTCLOUD":
        bpy.ops.pointcloud.delete()
    else:
        bpy.ops.mesh.delete(type="VERT")
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.context.view_layer.update()


def _duplicated() -> dict[str, Any]:
    """Shift D in object mode, one of the two removed again: the other is whole."""
    _clear()
    obj = _object("capture", CLOUD)
    bpy.ops.object.duplicate()
    copy = bpy.context.object
    found = {"own data": copy.data != obj.data, "settings": copy.exgs.keep_ratio == obj.exgs.keep_ratio}
    bpy.data.objects.remove(obj)
    return {**found, "off": _difference(_seen(), CLOUD)}


def _through_nodes() -> float:
    """Geometry nodes that move the points and recolour one SH coefficient."""
    _clear()
    obj = _object("capture", CLOUD)
    tree = bpy.data.node_groups.new("edit", "GeometryNodeTree")
    for kind in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=kind, socket_type="NodeSocketGeometry")
    kinds = ("NodeGroupInput", "GeometryNodeSetPosition", "GeometryNodeStoreNamedAttribute", "NodeGroupOutput")
    given, position, store, out = map(tree.nodes.new, kinds)
    position.inputs["Offset"].default_value = (1, 2, 3)
    store.data_type, store.domain = "FLOAT_VECTOR", "POINT"
    store.inputs["Name"].default_value = "radiance:sh_4"
    next(s for s in store.inputs if s.name == "Value" and s.enabled).default_value = (0.25, 0.5, 0.75)
    for first, second in ((given, position), (position, store), (store, out)):
        tree.links.new(first.outputs[0], second.inputs[0])
    obj.modifiers.new("edit", "NODES").node_group = tree
    bpy.context.view_layer.update()
    expected = transformed(CLOUD, np.array([[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1.0]]))
    expected.shN[:, 4] = (0.25, 0.5, 0.75)
    return _difference(_seen(), expected)


def _applied() -> dict[str, Any]:
    """Our Apply Transform, evenly and unevenly scaled: the object ends at the identity, the picture stays."""
    found = {}
    for name, scale in (("even", (1.5, 1.5, 1.5)), ("uneven", (1, 2, 0.5)), ("mirrored", (-1, 1, 1))):
        _clear()
        obj = _object("capture", CLOUD, (1, -2, 0.5), (0.3, 0.8, -1.2), scale)
        before = _seen()
        bpy.ops.exgs.apply_transform()
        bpy.context.view_layer.update()
        found[name] = [_difference(_seen(), before), float(np.abs(np.array(obj.matrix_world) - np.eye(4)).max())]
    return found


def _joined() -> dict[str, Any]:
    """Our Join of objects that are turned and scaled each in its own way; the shared data of the second stays for its other user."""
    _clear()
    second = _object("second", OTHER, (1, 0, 0), (0, 1, 0.4), (2, 2, 2))
    before = transformed(OTHER, np.array(second.matrix_world, np.float64))
    twin = second.copy()
    first = _object("first", CLOUD, (0, 0, 1), (0.5, 0, 0), (0.5, 0.5, 0.5))
    expected = transformed(CLOUD, np.array(first.matrix_world, np.float64))
    first.exgs.keep_ratio, second.exgs.keep_ratio = 0.5, 0.25
    _select(first, second)
    bpy.ops.exgs.join()
    bpy.context.view_layer.update()
    return {
        "off": _difference(_seen(), concatenate([expected, before])),
        "kept": round(first.exgs.keep_ratio, 4),
        "twin": len(twin.data.attributes["position"].data),
        "objects": len(bpy.context.scene.objects),
    }


def _joined_by_blender() -> float:
    """Object > Join of two captures that are turned alike, as imports are."""
    _clear()
    second = _object("second", OTHER, (1, 0, 0), (-1.5708, 0, 0))
    expected = [transformed(OTHER, np.array(second.matrix_world, np.float64))]
    first = _object("first", CLOUD, (0, 0, 1), (-1.5708, 0, 0))
    expected.append(transformed(CLOUD, np.array(first.matrix_world, np.float64)))
    _select(first, second)
    bpy.ops.object.join()
    bpy.context.view_layer.update()
    return _difference(_seen(), concatenate(expected))


def _refused() -> str:
    _clear()
    _object("flat", CLOUD, scale=(1, 1, 0))
    return stage.one_line(bpy.ops.exgs.apply_transform)


def _compressed(folder: Path) -> dict[str, Any]:
    """A capture whose far half was deleted is compressed as it is then: nothing of the other half comes back."""
    _clear()
    obj = _object("capture", stage.plane(2000))
    _delete(obj, stage.plane(2000).means[:, 0] < 0)
    bpy.ops.exgs.compress(filepath=str(folder / "half.exgs"), ratio=8, replace_original=False, views="EVERYWHERE")
    task = RUNNER.running[-1]
    RUNNER.wait(task)
    means = formats.read(folder / "half.exgs").means if task.state == "done" else np.zeros((1, 3))
    return {"state": task.state, "message": task.message, "least x": float(means[:, 0].min())}
