# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussians <-> point attributes of a Blender object, under the names that Blender 5.3 gives its own splats.

=================  ===========  =======================================================
attribute          type         content
=================  ===========  =======================================================
``position``       float3       centres, in the capture's own axes
``radiance:base``  float4       raw SH coefficient of degree 0 (RGB), opacity 0..1
``scale``          float3       standard deviations, linear
``rotation``       quaternion   wxyz
``radiance:sh_0``  float3       the first coefficient of degree 1 (RGB), then ``sh_1`` ...
``radius``         float        0, so that EEVEE and Cycles before 5.3 do not draw balls (ours, never required)
``exgs_rest``      float3       ``position`` when the other attributes were written (ours, never required)
=================  ===========  =======================================================

The object is a point cloud, or a mesh of loose vertices where this Blender cannot make one. Whatever
Blender's own tools do to the points (move, delete, join, geometry nodes) is what is read back. They move
``position`` alone; from where it was before follows how shapes and SH turned: :func:`gaussians_from_attributes` and
:func:`turned_attributes`, which every reader goes through. Objects without ``exgs_rest`` are taken as they are;
to move points alone on purpose, or to turn the other attributes by hand, remove it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError
from ..splats import Gaussians
from ..splats.activation import log_from_scale, logit_from_opacity, opacity_from_logit, scale_from_log, unit_quats
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ..splats.motions import Motions, follow, motions_between

NATIVE = bpy.app.version >= (5, 3, 0)
"""From 5.3 on Blender draws splats itself."""

POSITION = "position"
BASE = "radiance:base"
SCALE = "scale"
ROTATION = "rotation"
SH_PREFIX = "radiance:sh_"
RADIUS = "radius"
REST = "exgs_rest"

BLOCK = 2048
"""Points that are rearranged at a time: few enough for the processor's cache."""
RGB = np.dtype("V12")
"""Three floats as one thing to copy."""

# Attribute type -> (name of the value in ``attribute.data``, floats a point).
VALUES = {
    "FLOAT_VECTOR": ("vector", 3),
    "FLOAT_COLOR": ("color", 4),
    "FLOAT4": ("vector", 4),
    "QUATERNION": ("value", 4),
    "FLOAT": ("value", 1),
}
REQUIRED = {POSITION: ("FLOAT_VECTOR",), BASE: ("FLOAT4", "FLOAT_COLOR"), SCALE: ("FLOAT_VECTOR",), ROTATION: ("QUATERNION",)}


def is_splat_data(data: Any) -> bool:
    """Whether a data-block (original or evaluated) holds Gaussians: ours, or Blender's own."""
    if not isinstance(data, (bpy.types.PointCloud, bpy.types.Mesh)):
        return False
    found = data.attributes
    return all((a := found.get(name)) is not None and a.domain == "POINT" and a.data_type in types for name, types in REQUIRED.items())


def is_splat_object(obj: bpy.types.Object | None) -> bool:
    """Whether an object's own data (before modifiers) holds Gaussians."""
    return obj is not None and is_splat_data(obj.data)


def shown_instances(depsgraph: bpy.types.Depsgraph) -> Iterator[tuple[bpy.types.DepsgraphObjectInstance, bool]]:
    """Every visible object and instance of an evaluated scene, and whether it holds Gaussians; each is valid until the next."""
    for instance in depsgraph.object_instances:
        if instance.show_self:
            yield instance, is_splat_data(instance.object.data)


def shown_splats(depsgraph: bpy.types.Depsgraph) -> Iterator[bpy.types.DepsgraphObjectInstance]:
    """Those of :func:`shown_instances` that hold Gaussians."""
    return (instance for instance, splats in shown_instances(depsgraph) if splats)


def create_splat_object(context: bpy.types.Context, name: str, gaussians: Gaussians) -> bpy.types.Object:
    """A new object with these Gaussians, linked to the context's collection, at the identity transform.

    Where our viewport draws it, Blender itself shows only its bounds: points would hide the splats behind them.
    """
    obj = _new_object(context, name, gaussians)
    if not NATIVE:
        obj.display_type = "BOUNDS"
        if obj.type == "POINTCLOUD":
            _set(obj.data, RADIUS, "FLOAT", np.zeros(len(gaussians), np.float32))
    return obj


def _new_object(context: bpy.types.Context, name: str, gaussians: Gaussians) -> bpy.types.Object:
    cloud = _point_cloud(name, len(gaussians))
    if cloud is not None:
        write_attributes(cloud, gaussians)
        obj = bpy.data.objects.new(name, cloud)
        context.collection.objects.link(obj)
        return obj
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(gaussians))
    write_attributes(mesh, gaussians)
    obj = bpy.data.objects.new(name, mesh)
    context.collection.objects.link(obj)
    _convert_to_point_cloud(context, obj)
    return obj


def read_attributes(data: Any) -> dict[str, F32]:
    """The attribute arrays of a splat data-block as they are stored, by name: float32 [N, 3] or [N, 4]; with ``exgs_rest`` if it is there.

    Raises:
        ExgsError: it is not a splat, or its SH attributes have gaps.
    """
    if not is_splat_data(data):
        raise ExgsError(f"'{data.name}' holds no Gaussians: it needs the point attributes {', '.join(REQUIRED)}")
    higher = [a.name for a in data.attributes if a.name.startswith(SH_PREFIX)]
    names = [*REQUIRED, *(f"{SH_PREFIX}{i}" for i in range(len(higher)))]
    if set(names) != {*REQUIRED, *higher} or len(higher) + 1 not in SH_COEFFICIENTS:
        allowed = ", ".join(str(k - 1) for k in SH_COEFFICIENTS)
        raise ExgsError(f"'{data.name}' has {len(higher)} attributes '{SH_PREFIX}...'; expected {allowed}, numbered from 0 without gaps")
    found = {name: _get(data.attributes[name]) for name in names}
    rest = _rest(data)
    return found if rest is None else {**found, REST: rest}


def turned_attributes(attributes: dict[str, F32]) -> dict[str, F32]:
    """The arrays of :func:`read_attributes`, but for ``exgs_rest``, with shapes and SH turned as the points were."""
    found = {name: array for name, array in attributes.items() if name != REST}
    motions = _motions(attributes)
    if motions is None:
        return found
    turned = _arrays(follow(gaussians_from_attributes(found), motions))
    return {name: array if name in (POSITION, BASE) else turned[name] for name, array in found.items()}


def _motions(attributes: dict[str, F32]) -> Motions | None:
    """What turned the points since the other attributes were written; None for nothing."""
    motions = motions_between(attributes[REST], attributes[POSITION]) if REST in attributes else None
    return motions if motions is not None and motions.turns else None


def at_rest(data: Any) -> bool:
    """Whether the attributes are stored for the points where they are, as far as anybody knows."""
    rest = _rest(data)
    return rest is None or np.array_equal(rest, _get(data.attributes[POSITION]))


def _rest(data: Any) -> F32 | None:
    """Where the points were when the other attributes were written; None where nobody noted it."""
    rest = data.attributes.get(REST)
    if rest is None or rest.domain != "POINT" or rest.data_type != "FLOAT_VECTOR":
        return None
    return _get(rest)


def note_rest(data: Any) -> None:
    """From now on the attributes of a splat data-block turn with its points, also where nobody noted where they were."""
    if data.attributes.get(REST) is None:
        _set(data, REST, "FLOAT_VECTOR", _get(data.attributes[POSITION]))


def content_key(attributes: dict[str, F32]) -> str:
    """A name for the content: equal clouds get the same one, any edit of any value another."""
    checksum = 0
    for array in attributes.values():
        checksum = zlib.crc32(array.data, checksum)
    return f"{len(attributes[POSITION])}-{len(attributes)}-{checksum:08x}"


def gaussians_from_attributes(attributes: dict[str, F32]) -> Gaussians:
    """Raw Gaussians from the arrays of :func:`read_attributes`; shapes and SH turned as the points were."""
    count = len(attributes[POSITION])
    rest = [array for name, array in attributes.items() if name.startswith(SH_PREFIX)]
    base = attributes[BASE]
    cloud = Gaussians(
        means=attributes[POSITION],
        quats=unit_quats(attributes[ROTATION]),
        scales=log_from_scale(attributes[SCALE]),
        opacities=logit_from_opacity(base[:, 3]),
        sh0=base[:, None, :3],
        shN=_by_point(rest, count),
    )
    motions = _motions(attributes)
    return cloud if motions is None else follow(cloud, motions)


def gaussians_of(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> Gaussians:
    """An object's Gaussians as they are now, in object space: edits and modifiers count.

    Raises:
        ExgsError: the (evaluated) object holds none, or one with a value that is not finite.
    """
    gaussians = finite_gaussians(obj.evaluated_get(depsgraph))
    if len(gaussians) == 0:
        raise ExgsError(f"'{obj.name}' has no points left")
    return gaussians


def finite_gaussians(obj: bpy.types.Object) -> Gaussians:
    """The Gaussians of an evaluated object, in object space.

    Raises:
        ExgsError: it holds none, or one with a value that is not finite.
    """
    gaussians = gaussians_from_attributes(read_attributes(obj.data))
    if bad := gaussians.nonfinite_field():
        raise ExgsError(f"'{obj.name}': point {bad[1]} has a value in '{bad[0]}' that is not finite; delete it")
    return gaussians


def _point_cloud(name: str, count: int) -> bpy.types.PointCloud | None:
    """An empty point cloud of a size, or None where Python cannot size one (before 5.1)."""
    if "resize" not in bpy.types.PointCloud.bl_rna.functions:
        return None
    cloud = bpy.data.pointclouds.new(name)
    cloud.resize(count)
    if NATIVE:
        cloud.type = "GAUSSIAN_SPLAT"  # without it Blender draws the points as balls, whatever their attributes are called
    return cloud


def _convert_to_point_cloud(context: bpy.types.Context, obj: bpy.types.Object) -> None:
    """Turn loose vertices into a point cloud where Blender has that (4.5, 5.0); elsewhere they stay a mesh."""
    if "POINTCLOUD" not in bpy.ops.object.convert.get_rna_type().properties["target"].enum_items:
        return
    mesh = obj.data
    selection = {"object": obj, "active_object": obj, "selected_objects": [obj], "selected_editable_objects": [obj]}
    with context.temp_override(**selection):
        if bpy.ops.object.convert.poll():
            bpy.ops.object.convert(target="POINTCLOUD")
    if obj.data != mesh:
        obj.data.name = mesh.name
        bpy.data.meshes.remove(mesh)
        for name in [a.name for a in obj.data.attributes if a.name.startswith(".")]:  # a mesh's selection means nothing here
            obj.data.attributes.remove(obj.data.attributes[name])


def write_attributes(data: Any, gaussians: Gaussians) -> None:
    """Set all attributes; the points rest where they are now."""
    types = bpy.types.Attribute.bl_rna.properties["data_type"].enum_items
    kinds = {BASE: "FLOAT4" if "FLOAT4" in types else "FLOAT_COLOR", ROTATION: "QUATERNION"}
    for name, values in _arrays(gaussians).items():
        _set(data, name, kinds.get(name, "FLOAT_VECTOR"), values)
    _set(data, REST, "FLOAT_VECTOR", gaussians.means)


def _arrays(gaussians: Gaussians) -> dict[str, F32]:
    """Inverse of :func:`gaussians_from_attributes`."""
    base = np.empty((len(gaussians), 4), np.float32)
    base[:, :3] = gaussians.sh0[:, 0]
    base[:, 3] = opacity_from_logit(gaussians.opacities)
    found = {POSITION: gaussians.means, BASE: base, SCALE: scale_from_log(gaussians.scales), ROTATION: unit_quats(gaussians.quats)}
    return found | {f"{SH_PREFIX}{i}": values for i, values in enumerate(_by_coefficient(gaussians.shN))}


def _by_coefficient(rest: F32) -> F32:
    """[N, K, 3] -> [K, N, 3], a block of points at a time: taking coefficient after coefficient reads all the memory each time."""
    found = np.empty((rest.shape[1], len(rest), 3), np.float32)
    given, taken = rest.view(RGB)[..., 0], found.view(RGB)[..., 0]
    for start in range(0, len(rest), BLOCK):
        taken[:, start : start + BLOCK] = given[start : start + BLOCK].T
    return found


def _by_point(rest: list[F32], count: int) -> F32:
    """K arrays [N, 3] -> [N, K, 3], likewise."""
    found = np.empty((count, len(rest), 3), np.float32)
    taken = found.view(RGB)[..., 0]
    for start in range(0, count, BLOCK):
        for i, values in enumerate(rest):
            taken[start : start + BLOCK, i] = values[start : start + BLOCK].view(RGB)[..., 0]
    return found


def _set(data: Any, name: str, data_type: str, values: NDArray[np.float32]) -> None:
    attribute = data.attributes.get(name) or data.attributes.new(name, data_type, "POINT")
    attribute.data.foreach_set(VALUES[data_type][0], np.ascontiguousarray(values, np.float32).ravel())


def _get(attribute: bpy.types.Attribute) -> F32:
    value, floats = VALUES[attribute.data_type]
    values = np.empty((len(attribute.data), floats), np.float32)
    attribute.data.foreach_get(value, values.ravel())
    return values
