# SPDX-License-Identifier: GPL-3.0-or-later
"""glTF 2.0 with KHR_gaussian_splatting (Khronos, ratified): point primitives whose attributes are splats. Written as .glb.

Standard deviations and opacity are linear in the file, rotations xyzw. glTF's axes are left-up-forward (its section 3.4: +Y up, an
asset's front is +Z), a PLY's right-down-forward: x and y change their sign, which is half a turn about z and exact. Placed by the
nodes' matrices. Drafts of the extension stored logarithms of the standard deviations; a negative value, which the ratified
text forbids, tells that a primitive follows them. "lin_rec709_display" colours become sRGB-encoded ones, SH to first order.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..errors import ExgsError, FileError
from ..progress import Report, silent
from ..splats import Gaussians, concatenate
from ..splats.activation import (
    log_from_scale,
    logit_from_opacity,
    opacity_from_logit,
    rgb_from_sh0,
    scale_from_log,
    sh0_from_rgb,
    unit_quats,
)
from ..splats.gaussians import F32
from ..splats.spherical_harmonics import sh_signs
from ..splats.srgb import srgb_from_linear
from ..splats.transforms import quat_signs, transformed
from ._files import DAMAGED
from ._gltf_container import BIN_CHUNK, FLOAT, JSON_CHUNK, MAGIC, UNSIGNED_BYTE, Document, Matrix, open_document
from ._limits import check_scales, shown
from .registry import Format

EXTENSION = "KHR_gaussian_splatting"
SCALE, ROTATION, OPACITY = f"{EXTENSION}:SCALE", f"{EXTENSION}:ROTATION", f"{EXTENSION}:OPACITY"
RDF_FROM_LUF = (-1, -1, 1)
MAX_SH_DEGREE = 3
AXIS_SIGNS = np.array(RDF_FROM_LUF, np.float32)
SH_SIGNS = sh_signs(MAX_SH_DEGREE, RDF_FROM_LUF)[:, None]
SRGB, LINEAR = "srgb_rec709_display", "lin_rec709_display"
POINTS, ARRAY_BUFFER = 0, 34962
MAX_GLB_BYTES = (1 << 32) - 1
CHUNK = 1 << 16
CACHED_ROWS = 1 << 12
"""Their SH coefficients stay in cache while they are collected from as many places."""


def _sh_name(degree: int, index: int) -> str:
    return f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{index}"


def _sh_names(degree: int) -> list[str]:
    """All coefficients up to a degree, in the order of ``Gaussians``."""
    return [_sh_name(band, index) for band in range(degree + 1) for index in range(2 * band + 1)]


# Reading


def _splat_primitives(document: Document) -> Iterator[tuple[Matrix, dict[str, Any], dict[str, Any]]]:
    """(world matrix, attributes, extension object) of each primitive that holds splats."""
    for matrix, mesh in document.placed_meshes():
        primitives = mesh.get("primitives")
        for primitive in primitives if isinstance(primitives, list) else []:
            extensions = primitive.get("extensions") if isinstance(primitive, dict) else None
            extension = extensions.get(EXTENSION) if isinstance(extensions, dict) else None
            if isinstance(extension, dict):
                attributes = primitive.get("attributes")
                yield matrix, attributes if isinstance(attributes, dict) else {}, extension


def _check_kind(document: Document, extension: dict[str, Any]) -> None:
    kernel = extension.get("kernel", "ellipse")
    nested = extension.get("extensions")
    if kernel != "ellipse":
        raise FileError(document.path, f"field 'kernel' is {shown(kernel)}, expected 'ellipse'", "Export it as plain 3D Gaussians")
    if isinstance(nested, dict) and any("compression" in name for name in nested):
        raise FileError(document.path, f"is packed with {shown(next(iter(nested)))}, expected plain attributes", "Export it unpacked")


def _values(document: Document, attributes: dict[str, Any], name: str, width: int, rows: int) -> F32:
    """An attribute as float32 [rows, width], mapped from the file where it is that already.

    Whole numbers become -1..1 or 0..1 where they say so (section 3.11).
    """
    if name not in attributes:
        raise FileError(document.path, f"attribute '{name}' is missing", DAMAGED)
    stored = document.accessor(attributes[name], name, width)
    if len(stored) != rows:
        raise FileError(document.path, f"attribute '{name}' has {len(stored)} values, expected {rows} as 'POSITION'", DAMAGED)
    values = stored.astype(np.float32, copy=False)
    if stored.dtype.kind in "iu" and document.item("accessors", attributes[name]).get("normalized") is True:
        values /= np.float32(np.iinfo(stored.dtype).max)
        np.maximum(values, -1, out=values)
    return values


def _sh_degree(document: Document, attributes: dict[str, Any]) -> int:
    """From the attributes, which must be whole degrees without gaps."""
    found = {name for name in attributes if name.startswith(f"{EXTENSION}:SH_DEGREE_")}
    for degree in range(MAX_SH_DEGREE + 1):
        if found == set(_sh_names(degree)):
            return degree
    missing = sorted(set(_sh_names(MAX_SH_DEGREE)) - found)
    raise FileError(document.path, f"SH attributes are no whole degrees, the first one missing is '{missing[0]}'", DAMAGED)


def _encoded(cloud: Gaussians) -> Gaussians:
    """Colours for blending in linear light -> sRGB-encoded ones: exact in degree 0, by the curve's slope there above it."""
    linear = rgb_from_sh0(cloud.sh0)
    step = np.float32(1e-3)
    slope = (srgb_from_linear(linear + step) - srgb_from_linear(linear - step)) / (2 * step)
    return replace(cloud, sh0=sh0_from_rgb(srgb_from_linear(linear)), shN=cloud.shN * slope)


def _read_primitive(document: Document, matrix: Matrix, attributes: dict[str, Any], extension: dict[str, Any]) -> Gaussians:
    _check_kind(document, extension)
    degree = _sh_degree(document, attributes)
    if "POSITION" not in attributes:
        raise FileError(document.path, "attribute 'POSITION' is missing", DAMAGED)
    rows = len(document.accessor(attributes["POSITION"], "POSITION", 3))
    scales = _values(document, attributes, SCALE, 3, rows)
    if not (scales < 0).any():
        scales = log_from_scale(scales)
    sh = [_values(document, attributes, name, 3, rows) for name in _sh_names(degree)]
    shN = np.empty((rows, len(sh) - 1, 3), np.float32)
    for start in range(0, rows, CACHED_ROWS):
        piece = slice(start, start + CACHED_ROWS)
        for index, channel in np.ndindex(shN.shape[1:]):
            shN[piece, index, channel] = sh[index + 1][piece, channel]
    cloud = Gaussians(
        means=np.array(_values(document, attributes, "POSITION", 3, rows)),
        quats=_values(document, attributes, ROTATION, 4, rows)[:, [3, 0, 1, 2]],
        scales=scales,
        opacities=logit_from_opacity(np.clip(_values(document, attributes, OPACITY, 1, rows)[:, 0], 0, 1)),
        sh0=np.array(sh[0][:, None]),
        shN=shN,
    )
    check_scales(document.path, cloud.scales)
    if extension.get("colorSpace", SRGB) == LINEAR:
        cloud = _encoded(cloud)
    if np.array_equal(matrix, np.eye(4)):
        return cloud
    try:
        return transformed(cloud, matrix)
    except ExgsError as error:
        raise FileError(document.path, f"a node's matrix cannot be used ({error})", DAMAGED) from error


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read all splats of a file's scene as one cloud.

    Raises:
        FileError: not glTF 2, no splats in it, an attribute is missing, of another shape, or outside its buffer.
    """
    document = open_document(Path(path))
    primitives = list(_splat_primitives(document))
    if not primitives:
        raise FileError(path, f"no mesh primitive has the extension '{EXTENSION}'", "It holds no splats; choose another file")
    clouds: list[Gaussians] = []
    for done, primitive in enumerate(primitives):
        report("reading glTF", done / len(primitives))
        clouds.append(_read_primitive(document, *primitive))
    report("reading glTF", 1.0)
    cloud = clouds[0] if len(clouds) == 1 else concatenate(clouds)
    for array, signs in ((cloud.means, AXIS_SIGNS), (cloud.quats, quat_signs(RDF_FROM_LUF)), (cloud.shN, SH_SIGNS[: cloud.shN.shape[1]])):
        array *= signs  # in place, as the arrays are this function's own
    return cloud


# Writing


@dataclass(frozen=True)
class Attribute:
    """One accessor with a buffer view of its own: semantic, numbers a Gaussian, component type."""

    name: str
    kind: str
    width: int
    component: int = FLOAT

    @property
    def bytes_each(self) -> int:
        return self.width * (4 if self.component == FLOAT else 1)

    def of(self, piece: Gaussians) -> NDArray[Any]:
        """Its values of some Gaussians in glTF's axes."""
        if self.name == "POSITION":
            return piece.means * AXIS_SIGNS
        if self.name == "COLOR_0":
            colour = np.concatenate([rgb_from_sh0(piece.sh0[:, 0]), opacity_from_logit(piece.opacities)[:, None]], axis=1)
            return np.clip(np.round(colour * 255), 0, 255).astype(np.uint8)
        if self.name == ROTATION:
            return (unit_quats(piece.quats) * quat_signs(RDF_FROM_LUF))[:, [1, 2, 3, 0]]
        if self.name == SCALE:
            return scale_from_log(piece.scales)
        if self.name == OPACITY:
            return opacity_from_logit(piece.opacities)
        index = _sh_names(MAX_SH_DEGREE).index(self.name)
        return piece.sh0[:, 0] if index == 0 else piece.shN[:, index - 1] * SH_SIGNS[index - 1]


def _layout(sh_degree: int) -> list[Attribute]:
    """What is written; COLOR_0 is for programs that see only points."""
    fixed = [Attribute("POSITION", "VEC3", 3), Attribute("COLOR_0", "VEC4", 4, UNSIGNED_BYTE), Attribute(ROTATION, "VEC4", 4)]
    return [*fixed, Attribute(SCALE, "VEC3", 3), Attribute(OPACITY, "SCALAR", 1), *(Attribute(n, "VEC3", 3) for n in _sh_names(sh_degree))]


def _json(gaussians: Gaussians, layout: list[Attribute]) -> dict[str, Any]:
    count = len(gaussians)
    ends = (gaussians.means.min(axis=0) * AXIS_SIGNS, gaussians.means.max(axis=0) * AXIS_SIGNS)
    views, accessors, offset = [], [], 0
    for index, attribute in enumerate(layout):
        size = attribute.bytes_each * count
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": size, "target": ARRAY_BUFFER})
        accessors.append({"bufferView": index, "componentType": attribute.component, "count": count, "type": attribute.kind})
        offset += size
    accessors[0] |= {"min": np.minimum(*ends).astype(float).tolist(), "max": np.maximum(*ends).astype(float).tolist()}
    accessors[1] |= {"normalized": True}
    kind = {"kernel": "ellipse", "colorSpace": SRGB, "projection": "perspective", "sortingMethod": "cameraDistance"}
    attributes = {attribute.name: index for index, attribute in enumerate(layout)}
    return {
        "asset": {"version": "2.0", "generator": "ExGS"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "mode": POINTS, "extensions": {EXTENSION: kind}}]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }


def _write_attribute(file: BinaryIO, attribute: Attribute, gaussians: Gaussians) -> None:
    for start in range(0, len(gaussians), CHUNK):
        values = attribute.of(gaussians.select(slice(start, start + CHUNK)))
        file.write(values.astype("<f4" if attribute.component == FLOAT else "u1", copy=False).tobytes())


def write(path: Path, gaussians: Gaussians, *, report: Report = silent) -> None:
    """Write a .glb with one primitive; atomic.

    Raises:
        ExgsError: it would be larger than the 4 GB that a .glb may have.
        FileError: the file cannot be written.
    """
    layout = _layout(gaussians.sh_degree)
    document = _json(gaussians, layout)
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    length = document["buffers"][0]["byteLength"]
    total = 12 + 8 + len(text) + 8 + length
    if total > MAX_GLB_BYTES:
        raise ExgsError(f"{path}: a .glb holds at most 4 GB, this capture needs {total / 1e9:.1f}; drop SH bands or compress it first")
    with atomic_path(path) as part, part.open("wb") as file:
        file.write(MAGIC + struct.pack("<IIII", 2, total, len(text), JSON_CHUNK) + text + struct.pack("<II", length, BIN_CHUNK))
        for done, attribute in enumerate(layout):
            report("writing glTF", done / len(layout))
            _write_attribute(file, attribute, gaussians)
    report("writing glTF", 1.0)


def _sniff(path: Path, head: bytes) -> bool:
    if head.startswith(MAGIC):
        return True
    return head.lstrip().startswith(b"{") and (path.suffix.lower() == ".gltf" or EXTENSION.encode() in head)


FORMAT = Format(
    name="gltf",
    title="glTF (KHR_gaussian_splatting)",
    suffixes=(".glb",),
    read_suffixes=(".gltf",),
    sniff=_sniff,
    read=read,
    write=write,
    variants="KHR_gaussian_splatting, also its drafts with logarithmic scales",
    conventions="left-up-forward axes, turned; standard deviations and opacity linear; xyzw",
    max_sh_degree=MAX_SH_DEGREE,
)
