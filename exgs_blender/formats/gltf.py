# SPDX-License-Identifier: GPL-3.0-or-later
"""glTF 2.0 with KHR_gaussian_splatting (Khronos, ratified): point primitives whose attributes are splats. Written as .glb.

Standard deviations and opacity are linear in the file, rotations xyzw. glTF's axes are left-up-forward (its section 3.4: +Y up, an
asset's front is +Z), a PLY's right-down-forward: x and y change their sign, which is half a turn about z and exact. Placed by the
nodes' matrices. Drafts of the extension stored logarithms of the standard deviations; a negative value, which the ratified
text forbids, tells that a primitive follows them. "lin_rec709_display" colours become sRGB-encoded ones, SH to first order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExgsError, FileError
from ..progress import Report, silent
from ..splats import Gaussians, concatenate
from ..splats.activation import log_from_scale, logit_from_opacity, rgb_from_sh0, sh0_from_rgb
from ..splats.gaussians import F32
from ..splats.srgb import srgb_from_linear
from ..splats.transforms import quat_signs, transformed
from ._files import DAMAGED
from ._gltf_container import MAGIC, Document, Matrix, open_document
from ._gltf_names import (
    AXIS_SIGNS,
    EXTENSION,
    LINEAR,
    MAX_SH_DEGREE,
    OPACITY,
    RDF_FROM_LUF,
    ROTATION,
    SCALE,
    SH_SIGNS,
    SRGB,
    sh_names,
)
from ._limits import check_scales, decoded_bytes, plausible, shown
from .registry import Format

MAX_PRIMITIVES = 1024
CACHED_ROWS = 1 << 12
"""Their SH coefficients stay in cache while they are collected from as many places."""


@dataclass(frozen=True)
class Primitive:
    """One placed primitive: world matrix [4, 4], its attributes and extension object, SH degree and Gaussians."""

    matrix: Matrix
    attributes: dict[str, Any]
    extension: dict[str, Any]
    degree: int
    rows: int


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


def _checked_primitives(document: Document) -> list[Primitive]:
    """The primitives that hold splats; a scene may place one mesh many times, but not without end."""
    found: list[Primitive] = []
    claimed = 0
    for matrix, attributes, extension in _splat_primitives(document):
        _check_kind(document, extension)
        degree = _sh_degree(document, attributes)
        if "POSITION" not in attributes:
            raise FileError(document.path, "attribute 'POSITION' is missing", DAMAGED)
        rows = len(document.accessor(attributes["POSITION"], "POSITION", 3))
        claimed += decoded_bytes(rows, degree)
        if len(found) == MAX_PRIMITIVES or not plausible(claimed, document.buffer_bytes):
            problem = f"field 'nodes' places more than {len(found)} primitives of splats ({claimed} bytes), too many for its buffers"
            raise FileError(document.path, problem, "Export it with the copies left out")
        found.append(Primitive(matrix, attributes, extension, degree, rows))
    return found


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
        if found == set(sh_names(degree)):
            return degree
    missing = sorted(set(sh_names(MAX_SH_DEGREE)) - found)
    raise FileError(document.path, f"SH attributes are no whole degrees, the first one missing is '{missing[0]}'", DAMAGED)


def _encoded(cloud: Gaussians) -> Gaussians:
    """Colours for blending in linear light -> sRGB-encoded ones: exact in degree 0, by the curve's slope there above it."""
    linear = rgb_from_sh0(cloud.sh0)
    step = np.float32(1e-3)
    slope = (srgb_from_linear(linear + step) - srgb_from_linear(linear - step)) / (2 * step)
    return replace(cloud, sh0=sh0_from_rgb(srgb_from_linear(linear)), shN=cloud.shN * slope)


def _read_primitive(document: Document, primitive: Primitive) -> Gaussians:
    attributes, rows, matrix = primitive.attributes, primitive.rows, primitive.matrix
    scales = _values(document, attributes, SCALE, 3, rows)
    if not (scales < 0).any():
        scales = log_from_scale(scales)
    sh = [_values(document, attributes, name, 3, rows) for name in sh_names(primitive.degree)]
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
    if primitive.extension.get("colorSpace", SRGB) == LINEAR:
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
    primitives = _checked_primitives(document)
    if not primitives:
        raise FileError(path, f"no mesh primitive has the extension '{EXTENSION}'", "It holds no splats; choose another file")
    clouds: list[Gaussians] = []
    for done, primitive in enumerate(primitives):
        report("reading glTF", done / len(primitives))
        clouds.append(_read_primitive(document, primitive))
    report("reading glTF", 1.0)
    cloud = clouds[0] if len(clouds) == 1 else concatenate(clouds)
    for array, signs in ((cloud.means, AXIS_SIGNS), (cloud.quats, quat_signs(RDF_FROM_LUF)), (cloud.shN, SH_SIGNS[: cloud.shN.shape[1]])):
        array *= signs  # in place, as the arrays are this function's own
    return cloud


def write(path: Path, gaussians: Gaussians, *, report: Report = silent) -> None:
    """Write a .glb with one primitive; atomic.

    Raises:
        ExgsError: it would be larger than the 4 GB that a .glb may have.
        FileError: the file cannot be written.
    """
    from ._gltf_write import write_glb

    write_glb(Path(path), gaussians, report)


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
