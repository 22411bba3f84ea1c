# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing .glb: one point primitive, an accessor and a buffer view of its own for each attribute of KHR_gaussian_splatting."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..errors import ExgsError
from ..progress import Report
from ..splats import Gaussians
from ..splats.activation import opacity_from_logit, rgb_from_sh0, scale_from_log, unit_quats
from ..splats.transforms import quat_signs
from ._gltf_container import BIN_CHUNK, FLOAT, JSON_CHUNK, MAGIC, UNSIGNED_BYTE
from ._gltf_names import AXIS_SIGNS, EXTENSION, MAX_SH_DEGREE, OPACITY, RDF_FROM_LUF, ROTATION, SCALE, SH_SIGNS, SRGB, sh_names

POINTS, ARRAY_BUFFER = 0, 34962
MAX_GLB_BYTES = (1 << 32) - 1
CHUNK = 1 << 16


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
        index = sh_names(MAX_SH_DEGREE).index(self.name)
        return piece.sh0[:, 0] if index == 0 else piece.shN[:, index - 1] * SH_SIGNS[index - 1]


def _layout(sh_degree: int) -> list[Attribute]:
    """What is written; COLOR_0 is for programs that see only points."""
    fixed = [Attribute("POSITION", "VEC3", 3), Attribute("COLOR_0", "VEC4", 4, UNSIGNED_BYTE), Attribute(ROTATION, "VEC4", 4)]
    return [*fixed, Attribute(SCALE, "VEC3", 3), Attribute(OPACITY, "SCALAR", 1), *(Attribute(n, "VEC3", 3) for n in sh_names(sh_degree))]


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


def write_glb(path: Path, gaussians: Gaussians, report: Report) -> None:
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
