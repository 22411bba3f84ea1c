# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's own Apply, Join, Delete and geometry nodes, which move points alone: what renders and exports get, and what they should.

Each case leaves a file with what was to be seen (clouds and where they stand, nothing applied) and one with what is.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from exgs_blender import formats
from exgs_blender.blender import splat_object
from exgs_blender.blender.render_session import SESSION
from exgs_blender.blender.splat_object import create_splat_object, gaussians_from_attributes, read_attributes, write_attributes
from exgs_blender.blender.viewport.clouds import SceneClouds
from exgs_blender.splats import Gaussians
from exgs_blender.splats.transforms import transformed
from tests.clouds import random_gaussians

from . import stage
from .edits import _clear, _delete, _select

Parts = list[tuple[Gaussians, Any]]
TURN = (0.4, -0.7, 1.9)


@dataclass
class Recorder:
    """Writes what is seen, and what should be."""

    folder: Path
    cases: dict[str, Any]

    def compare(self, name: str, expected: Parts, *, export: bool = False) -> None:
        bpy.context.view_layer.update()
        self.cases[name] = {"expected": self._written(f"{name} expected", expected), "seen": self._written(f"{name} seen", seen())}
        self.cases[name]["drawn"] = self._written(f"{name} drawn", drawn())
        if export:
            path = self.folder / f"{name} export.ply"
            bpy.ops.exgs.export_splats(filepath=str(path), up="Z_UP", selected_only=False)
            self.cases[name]["exported"] = [{"file": str(path), "matrix": np.eye(4).tolist()}]

    def _written(self, name: str, parts: Parts) -> list[dict[str, Any]]:
        found = []
        for i, (cloud, matrix) in enumerate(parts):
            path = self.folder / f"{name} {i}.ply"
            formats.write(path, cloud)
            found.append({"file": str(path), "matrix": np.asarray(matrix).tolist()})
        return found


def run(request: dict[str, Any]) -> dict[str, Any]:
    stage.start()
    recorder = Recorder(Path(request["folder"]), {})
    for case in (_applied, _joined, _joined_by_us, _duplicates, _transformed_by_nodes, _realized, _sorted, _mesh, _undone, _saved):
        _clear()
        case(recorder)
    result = {"cases": recorder.cases, "kept as they are": _without_rest(), "ours": _then_ours(), "survives": _attribute()}
    SESSION.close()
    return result


def cloud(count: int = 400, seed: int = 1) -> Gaussians:
    """Long, thin, and with colours that change with the view."""
    found = random_gaussians(count, 3, seed=seed)
    found.scales[:] += np.float32([0.9, 0.0, -1.5])
    return found


def seen() -> Parts:
    """What a render gets."""
    placed, *_ = SESSION.visible_splats(bpy.context.evaluated_depsgraph_get())
    return [(one[1].gaussians, one[1].world_from_object) for one in placed]


def drawn() -> Parts:
    """What the 3D view gets."""
    clouds = SceneClouds()
    snapshot = clouds.snapshot(bpy.context.scene, bpy.context.view_layer, bpy.context.evaluated_depsgraph_get(), set())
    assert not snapshot.problem, snapshot.problem
    return [(gaussians_from_attributes(clouds.fresh[one.key]), one.world_from_object) for one in snapshot.shown]


def placed(name: str, given: Gaussians, turn: Any = TURN, scale: Any = (1.4, 1.4, 1.4), location: Any = (1, -2, 0.5)) -> bpy.types.Object:
    obj = create_splat_object(bpy.context, name, given)
    obj.location, obj.rotation_euler, obj.scale = location, turn, scale
    _select(obj)
    return obj


def _apply() -> None:
    bpy.ops.object.transform_apply(location=True, rotation=True, scale=True)


def _applied(recorder: Recorder) -> None:
    scales = {"even": (1.4, 1.4, 1.4), "uneven": (1, 2, 0.5), "mirrored": (-1.2, 1.2, 1.2)}
    for name, scale in scales.items():
        _clear()
        obj = placed("capture", cloud(), scale=scale)
        expected = seen()
        if name == "uneven":  # no SH is exactly another one stretched: expected is what our own Apply makes of it
            expected = [(transformed(*expected[0]), np.eye(4))]
        _apply()
        recorder.compare(f"applied {name}", expected, export=True)
        obj.rotation_euler = (1, 0.2, 0)
        bpy.context.view_layer.update()
        expected = seen()
        _apply()
        recorder.compare(f"applied {name}, twice", expected)


def _joined(recorder: Recorder) -> None:
    other = placed("other", cloud(300, 2), (2, 0.1, -1), (0.7, 0.7, 0.7), (0, 1, 0))
    expected = seen()
    first = placed("first", cloud())
    expected = seen()
    _select(first, other)
    bpy.ops.object.join()
    recorder.compare("joined", expected, export=True)


def _joined_by_us(recorder: Recorder) -> None:
    """Our Join with a cloud of others, which does not say where its points rest; applied afterwards, all of it turns."""
    other = placed("other", cloud(300, 2), (2, 0.1, -1), (0.7, 0.7, 0.7), (0, 1, 0))
    first = placed("first", cloud())
    first.data.attributes.remove(first.data.attributes[splat_object.REST])
    expected = seen()
    _select(first, other)
    bpy.ops.exgs.join()
    _apply()
    recorder.compare("joined by us", expected)


def _duplicates(recorder: Recorder) -> None:
    """Shift D, R, Apply, Ctrl J, three times over; then delete."""
    first = placed("capture", cloud(), (0, 0, 0), (1, 1, 1), (0, 0, 0))
    expected = seen()
    spare = placed("spare", cloud(), (0, 0, 0), (1, 1, 1), (0, 0, 0))
    for i in range(3):
        _select(spare)
        bpy.ops.object.duplicate()
        copy = bpy.context.object
        copy.rotation_euler, copy.location = (i, 0.5, -1), (1.5, i, 0)
        copy.scale = (1.3, 1.3, 1.3)
        bpy.context.view_layer.update()
        expected = [*expected, (cloud(), np.array(copy.matrix_world))]
        _select(copy)
        _apply()
        _select(first, copy)
        bpy.ops.object.join()
    bpy.data.objects.remove(spare)
    recorder.compare("duplicated", expected)
    gone = np.random.default_rng(0).random(1600) < 0.4
    _delete(first, gone)
    kept = [(part.select(~gone[i * 400 : (i + 1) * 400]), matrix) for i, (part, matrix) in enumerate(expected)]
    recorder.compare("deleted", kept, export=True)


def tree_of(*kinds: str) -> tuple[bpy.types.NodeTree, list[Any]]:
    """A modifier's tree with nodes in a chain."""
    tree = bpy.data.node_groups.new("edit", "GeometryNodeTree")
    for kind in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=kind, socket_type="NodeSocketGeometry")
    nodes = [tree.nodes.new(kind) for kind in ("NodeGroupInput", *kinds, "NodeGroupOutput")]
    for first, second in itertools.pairwise(nodes):
        geometry = next((s for s in second.inputs if s.type == "GEOMETRY"), None)
        if geometry is not None:
            tree.links.new(next(s for s in first.outputs if s.type == "GEOMETRY"), geometry)
    return tree, nodes[1:-1]


def _matrix(location: Any, turn: Any, scale: Any) -> Any:
    from mathutils import Euler, Matrix

    return np.array(Matrix.LocRotScale(location, Euler(turn), scale))


def _transformed_by_nodes(recorder: Recorder) -> None:
    obj = placed("capture", cloud(), (0, 0, 0), (1, 1, 1), (0, 0, 0))
    tree, (node,) = tree_of("GeometryNodeTransform")
    node.inputs["Translation"].default_value, node.inputs["Rotation"].default_value = (1, 0, 2), TURN
    node.inputs["Scale"].default_value = (1.5, 1.5, 1.5)
    obj.modifiers.new("edit", "NODES").node_group = tree
    recorder.compare("transformed by nodes", [(cloud(), _matrix((1, 0, 2), TURN, (1.5, 1.5, 1.5)))], export=True)


def _realized(recorder: Recorder) -> None:
    """A collection with two turned captures and an object, instanced by nodes and made real; and eight on the corners of a cube."""
    inner = bpy.data.collections.new("inner")
    first, second = placed("first", cloud()), placed("second", cloud(300, 2), (1, 1, 0), (1, 1, 1), (0, 0, 2))
    parts = seen()
    for obj in (first, second):
        inner.objects.link(obj)
        bpy.context.scene.collection.objects.unlink(obj)
    holder = bpy.data.objects.new("holder", bpy.data.meshes.new("holder"))
    bpy.context.scene.collection.objects.link(holder)
    tree, (info, move, _) = tree_of("GeometryNodeCollectionInfo", "GeometryNodeTransform", "GeometryNodeRealizeInstances")
    info.inputs["Collection"].default_value = inner
    move.inputs["Rotation"].default_value = (0, 0, 1)
    holder.modifiers.new("edit", "NODES").node_group = tree
    recorder.compare("realized collection", [(c, _matrix((0, 0, 0), (0, 0, 1), (1, 1, 1)) @ m) for c, m in parts])
    tree, (cube, points, _) = tree_of("GeometryNodeMeshCube", "GeometryNodeInstanceOnPoints", "GeometryNodeRealizeInstances")
    cube.inputs["Size"].default_value = (4, 4, 4)
    given = tree.nodes.new("GeometryNodeObjectInfo")
    given.inputs["Object"].default_value, given.inputs["As Instance"].default_value = first, True
    tree.links.new(given.outputs["Geometry"], points.inputs["Instance"])
    points.inputs["Rotation"].default_value, points.inputs["Scale"].default_value = (0.3, 2, 0), (0.5, 0.5, 0.5)
    holder.modifiers[0].node_group = tree
    corners = [(x, y, z) for x in (-2, 2) for y in (-2, 2) for z in (-2, 2)]
    recorder.compare("realized instances", [(cloud(), _matrix(c, (0.3, 2, 0), (0.5, 0.5, 0.5))) for c in corners])


def _sorted(recorder: Recorder) -> None:
    """Joined, then put in random order by a node."""
    other = placed("other", cloud(300, 2), (2, 0.1, -1), (0.7, 0.7, 0.7), (0, 1, 0))
    first = placed("first", cloud())
    expected = seen()
    _select(first, other)
    bpy.ops.object.join()
    tree, (node,) = tree_of("GeometryNodeSortElements")
    chance = tree.nodes.new("FunctionNodeRandomValue")
    tree.links.new(next(s for s in chance.outputs if s.type == "VALUE"), node.inputs["Sort Weight"])
    first.modifiers.new("edit", "NODES").node_group = tree
    recorder.compare("sorted", expected)


def _mesh(recorder: Recorder) -> None:
    """Where Blender has no point clouds for Python (4.2), splats are loose vertices."""
    mesh = bpy.data.meshes.new("capture")
    mesh.vertices.add(400)
    write_attributes(mesh, cloud())
    obj = bpy.data.objects.new("capture", mesh)
    bpy.context.scene.collection.objects.link(obj)
    obj.rotation_euler, obj.scale = TURN, (2, 2, 2)
    _select(obj)
    expected = seen()
    _apply()
    recorder.compare("applied to a mesh", expected)


def _undone(recorder: Recorder) -> None:
    placed("capture", cloud())
    expected = seen()
    bpy.ops.ed.undo_push(message="before")
    _apply()
    bpy.ops.ed.undo_push(message="applied")
    recorder.compare("before undo", expected)
    bpy.ops.ed.undo()
    recorder.compare("undone", expected)
    bpy.ops.ed.redo()
    recorder.compare("redone", expected)


def _saved(recorder: Recorder) -> None:
    placed("capture", cloud())
    expected = seen()
    _apply()
    path = str(recorder.folder / "saved.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    recorder.compare("saved", expected)


def _without_rest() -> bool:
    """A cloud without the attribute is read as it lies there, whatever was applied."""
    _clear()
    obj = placed("capture", cloud())
    obj.data.attributes.remove(obj.data.attributes[splat_object.REST])
    before = splat_object.turned_attributes(read_attributes(obj.data))
    _apply()
    after = splat_object.turned_attributes(read_attributes(obj.data))
    return all(np.array_equal(before[name], after[name]) for name in before if name != splat_object.POSITION)


def _then_ours() -> dict[str, Any]:
    """Our own Apply after Blender's, which left nothing to apply: the attributes are those of the new place, with nothing to correct."""
    _clear()
    obj = placed("capture", cloud())
    _apply()
    before = splat_object.at_rest(obj.data)
    bpy.ops.exgs.apply_transform()
    values = {
        name: splat_object._get(obj.data.attributes[name]) for name in (splat_object.REST, splat_object.POSITION, splat_object.ROTATION)
    }
    read = splat_object.turned_attributes(read_attributes(obj.data))
    return {
        "nothing to write": before,
        "rest": float(np.abs(values[splat_object.REST] - values[splat_object.POSITION]).max()),
        "rotation": float(np.abs(values[splat_object.ROTATION] - read[splat_object.ROTATION]).max()),
    }


def _attribute() -> list[str]:
    """Attributes of an exported file's header: ours stays in Blender."""
    _clear()
    placed("capture", cloud(20))
    path = Path(bpy.app.tempdir) / "header.ply"
    bpy.ops.exgs.export_splats(filepath=str(path))
    lines = path.read_bytes().split(b"end_header")[0].decode().splitlines()
    return [
        line.split()[-1] for line in lines if line.startswith("property") and "rest" in line and not line.split()[-1].startswith("f_rest")
    ]
