# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians -> object -> Gaussians, with edits by Blender's own means."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from exgs_blender.blender import splat_object
from exgs_blender.errors import ExgsError
from exgs_blender.splats.activation import opacity_from_logit, unit_quats
from tests.clouds import random_gaussians


def run(request: dict[str, Any]) -> dict[str, Any]:
    import exgs_blender

    exgs_blender.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    result = {f"degree {degree}": _error(degree) for degree in (0, 1, 3, 4)}
    return {"errors": result, **_layout(), **_edits(), **_refusals()}


def _read(obj: bpy.types.Object) -> Any:
    return splat_object.gaussians_of(obj, bpy.context.evaluated_depsgraph_get())


def _error(degree: int) -> float:
    cloud = random_gaussians(500, degree, seed=degree)
    back = dict(_read(splat_object.create_splat_object(bpy.context, f"degree {degree}", cloud)).arrays())
    expected = {**dict(cloud.arrays()), "quats": unit_quats(cloud.quats), "opacities": opacity_from_logit(cloud.opacities)}
    back["opacities"] = opacity_from_logit(back["opacities"])  # a logit near 1 is not worth comparing
    return max(float(np.abs(array - expected[name]).max(initial=0.0)) for name, array in back.items())


def _layout() -> dict[str, Any]:
    obj = splat_object.create_splat_object(bpy.context, "layout", random_gaussians(10, 1))
    expected = "POINTCLOUD" if bpy.app.version >= (4, 5) else "MESH"  # 4.2 cannot make a point cloud of its own
    return {
        "as expected": obj.type == expected,
        "attributes": {a.name: a.data_type for a in obj.data.attributes if obj.type == "POINTCLOUD" or a.name[0] != "."},
        "drawn by others": max(point.radius for point in obj.data.points) if obj.type == "POINTCLOUD" and not splat_object.NATIVE else 0,
        "unused meshes": sum(not mesh.users for mesh in bpy.data.meshes),
    }


def _edits() -> dict[str, Any]:
    """Move one point through its attribute; delete the first half with geometry nodes."""
    cloud = random_gaussians(100, 1, seed=5)
    obj = splat_object.create_splat_object(bpy.context, "edited", cloud)
    before = splat_object.content_key(splat_object.read_attributes(obj.data))
    obj.data.attributes["position"].data[99].vector = (7, 8, 9)
    obj.data.update_tag()
    moved = splat_object.content_key(splat_object.read_attributes(obj.data))
    obj.data.attributes["radiance:sh_2"].data[50].vector = (0.5, 0, 0)
    coloured = splat_object.content_key(splat_object.read_attributes(obj.data))
    _delete_first(obj, 50)
    left = _read(obj)
    kept = np.abs(left.sh0 - cloud.sh0[50:]).max()
    return {
        "keys differ": len({before, moved, coloured}) == 3,
        "left": len(left),
        "moved": left.means[-1].tolist(),
        "kept error": float(kept),
        "sh": float(left.shN[0, 2, 0]),
    }


def _delete_first(obj: bpy.types.Object, count: int) -> None:
    tree = bpy.data.node_groups.new("delete", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    given, gone, less, index, out = (
        tree.nodes.new(kind)
        for kind in ("NodeGroupInput", "GeometryNodeDeleteGeometry", "ShaderNodeMath", "GeometryNodeInputIndex", "NodeGroupOutput")
    )
    less.operation = "LESS_THAN"
    less.inputs[1].default_value = count
    tree.links.new(given.outputs[0], gone.inputs["Geometry"])
    tree.links.new(index.outputs[0], less.inputs[0])
    tree.links.new(less.outputs[0], gone.inputs["Selection"])
    tree.links.new(gone.outputs[0], out.inputs[0])
    obj.modifiers.new("delete", "NODES").node_group = tree


def _refusals() -> dict[str, Any]:
    mesh = bpy.data.objects.new("plain", bpy.data.meshes.new("plain"))
    bpy.context.scene.collection.objects.link(mesh)
    lines = {}
    holey = splat_object.create_splat_object(bpy.context, "holey", random_gaussians(5, 1))
    holey.data.attributes.remove(holey.data.attributes["radiance:sh_1"])
    broken = splat_object.create_splat_object(bpy.context, "broken", random_gaussians(5, 0))
    broken.data.attributes["scale"].data[3].vector = (float("nan"), 1, 1)
    for obj in (mesh, holey, broken):
        try:
            _read(obj)
        except ExgsError as error:
            lines[obj.name] = str(error)
    return {"refusals": lines, "plain is splat": splat_object.is_splat_object(mesh)}
