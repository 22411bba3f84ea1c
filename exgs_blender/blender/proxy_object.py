# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh of a capture's surface that stands in for it where Cycles needs one: to catch shadows, or to hide what is behind."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

LIT_BY_IT = ("diffuse", "glossy", "transmission", "volume_scatter")
"""Rays by which a proxy would light the CG, as if the capture were white: it is not there for them. It stays for shadow rays, lest the
CG's shadow fall through a table onto the floor; so the capture shades the CG, too."""
SHADOWS, HOLDOUT = "SHADOWS", "HOLDOUT"


def proxy_of(obj: bpy.types.Object) -> bpy.types.Object | None:
    """The proxy of a splat object, if it has one."""
    return next((child for child in obj.children if child.exgs.proxy), None)


def make_or_update(obj: bpy.types.Object, vertices: Any, quads: Any, role: str) -> bpy.types.Object:
    """Give a splat object its proxy: a child at the same place, in the same collections.

    Args:
        vertices: [V, 3] in the object's coordinates.
        quads: [Q, 4].
        role: SHADOWS or HOLDOUT.
    """
    mesh = _mesh(f"{obj.name} Proxy", vertices, quads)
    proxy = proxy_of(obj)
    if proxy is None:
        proxy = bpy.data.objects.new(mesh.name, mesh)
        proxy.parent, proxy.exgs.proxy, proxy.display_type = obj, True, "BOUNDS"
        for collection in obj.users_collection:
            collection.objects.link(proxy)
    else:
        before, proxy.data = proxy.data, mesh
        if before.users == 0:
            bpy.data.meshes.remove(before)
        mesh.name = f"{obj.name} Proxy"
    proxy.is_shadow_catcher, proxy.is_holdout = role == SHADOWS, role == HOLDOUT
    for rays in LIT_BY_IT:
        setattr(proxy, f"visible_{rays}", False)
    return proxy


def catches_shadows(scene: bpy.types.Scene) -> bool:
    """Whether Cycles will make a pass of the shadows on splats in this scene."""
    catchers = (obj for obj in scene.objects if obj.exgs.proxy and obj.is_shadow_catcher and not obj.hide_render)
    return scene.render.engine == "CYCLES" and any(catchers)


def _mesh(name: str, vertices: Any, quads: Any) -> bpy.types.Mesh:
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    mesh.loops.add(quads.size)
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(quads, np.int32).ravel())
    mesh.polygons.add(len(quads))
    mesh.polygons.foreach_set("loop_start", np.arange(0, quads.size, 4, dtype=np.int32))
    mesh.update(calc_edges=True)
    mesh.validate()
    return mesh
