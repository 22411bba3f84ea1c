# SPDX-License-Identifier: GPL-3.0-or-later
"""glTF 2.0 files as far as splats need them: JSON and buffers of .glb and .gltf, accessors, and the nodes' matrices.

Source: Khronos, glTF 2.0 specification, sections 3.5 (scenes), 3.6 (buffers, accessors) and 4 (GLB).
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ._files import DAMAGED, TRUNCATED, reading
from ._json import read_json
from ._limits import shown
from ._sog_source import plain_name

MAGIC = b"glTF"
JSON_CHUNK, BIN_CHUNK = 0x4E4F534A, 0x004E4942
MAX_JSON_BYTES = 64 << 20
MAX_NODES = 1 << 16
COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
FLOAT, UNSIGNED_BYTE = 5126, 5121
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}

U8 = NDArray[np.uint8]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Document:
    """An opened glTF file.

    Attributes:
        path: the file.
        json: the parsed JSON, an object.
        binary: the GLB's binary chunk, mapped from the file; empty in a .gltf.
    """

    path: Path
    json: dict[str, Any]
    binary: U8
    _buffers: dict[int, U8] = field(default_factory=dict)

    def item(self, collection: str, index: object) -> dict[str, Any]:
        """One object of a top-level array.

        Raises:
            FileError: there is no such array, entry or object.
        """
        items = self.json.get(collection)
        if not isinstance(items, list) or isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(items):
            raise FileError(self.path, f"field '{collection}' has no entry {shown(index)}", DAMAGED)
        if not isinstance(items[index], dict):
            raise FileError(self.path, f"field '{collection}[{index}]' is not an object", DAMAGED)
        entry: dict[str, Any] = items[index]
        return entry

    def whole(self, where: str, value: object, least: int = 0) -> int:
        """A whole number from the JSON."""
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 53:
            raise FileError(self.path, f"field '{where}' is {shown(value)}, expected a whole number of {least} or more", DAMAGED)
        return value

    def buffer(self, index: int) -> U8:
        """Bytes of a buffer: the GLB's own, a data URI, or a file beside this one."""
        if index not in self._buffers:
            entry = self.item("buffers", index)
            length = self.whole(f"buffers[{index}].byteLength", entry.get("byteLength"), 1)
            uri = entry.get("uri")
            data = self.binary if uri is None and index == 0 else self._from_uri(index, uri)
            if len(data) < length:
                raise FileError(self.path, f"field 'buffers[{index}].byteLength' is {length}, the data has {len(data)}", TRUNCATED)
            self._buffers[index] = data[:length]
        return self._buffers[index]

    @property
    def buffer_bytes(self) -> int:
        """Of the buffers that accessors have led to so far."""
        return sum(len(data) for data in self._buffers.values())

    def _from_uri(self, index: int, uri: object) -> U8:
        if isinstance(uri, str) and uri.startswith("data:"):
            try:
                return np.frombuffer(base64.b64decode(uri.partition(",")[2], validate=True), np.uint8)
            except (binascii.Error, ValueError) as error:
                raise FileError(self.path, f"field 'buffers[{index}].uri' is no base64 data ({error})", DAMAGED) from error
        name = plain_name(self.path, unquote(uri) if isinstance(uri, str) else uri, f"field 'buffers[{index}].uri'")
        try:
            return np.memmap(self.path.parent / name, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise FileError(self.path, f"its data file {shown(name)} cannot be read ({error})", "Copy it beside this file") from error

    def accessor(self, index: object, semantic: str, width: int) -> NDArray[Any]:
        """Values of an accessor as they are stored, a view [count, width] where it can be; not normalised.

        Raises:
            FileError: it is sparse, of another shape, or outside its buffer.
        """
        entry = self.item("accessors", index)
        count = self.whole(f"accessor of '{semantic}': count", entry.get("count"), 1)
        component, kind = entry.get("componentType"), entry.get("type")
        code = COMPONENTS.get(component) if isinstance(component, int) else None
        if code is None or not isinstance(kind, str) or WIDTHS.get(kind) != width:
            found = f"{shown(kind)} of component type {shown(component)}"
            raise FileError(self.path, f"attribute '{semantic}' is {found}, expected {width} numbers", DAMAGED)
        if "sparse" in entry or "bufferView" not in entry:
            raise FileError(self.path, f"attribute '{semantic}' is sparse, expected plain values", "Export it without sparse accessors")
        view = self.item("bufferViews", entry["bufferView"])
        data = self.buffer(self.whole("bufferView.buffer", view.get("buffer")))
        start = self.whole("bufferView.byteOffset", view.get("byteOffset", 0))
        end = start + self.whole("bufferView.byteLength", view.get("byteLength"), 1)
        start += self.whole("accessor.byteOffset", entry.get("byteOffset", 0))
        row = np.dtype((code, (width,)))
        stride = self.whole("bufferView.byteStride", view.get("byteStride", row.itemsize), row.itemsize)
        need = stride * (count - 1) + row.itemsize
        if end > len(data) or start + need > end:
            found = f"attribute '{semantic}' claims {count} values ({need} bytes), its buffer has {max(min(end, len(data)) - start, 0)}"
            raise FileError(self.path, found, TRUNCATED)
        return np.ndarray((count, width), code, data, start, (stride, np.dtype(code).itemsize))

    def placed_meshes(self) -> Iterator[tuple[Matrix, dict[str, Any]]]:
        """(world matrix [4, 4], mesh) of every node of the scene that has one; of all meshes where there is no scene.

        Raises:
            FileError: the nodes are no tree, or a matrix is no matrix.
        """
        if not self.json.get("scenes"):
            for number in range(len(self._list("meshes", self.json.get("meshes", [])))):
                yield np.eye(4), self.item("meshes", number)
            return
        roots = self.item("scenes", self.json.get("scene", 0)).get("nodes", [])
        todo: list[tuple[Matrix, object]] = [(np.eye(4), node) for node in reversed(self._list("scene.nodes", roots))]
        visited: set[object] = set()
        while todo:
            parent, index = todo.pop()
            node = self.item("nodes", index)
            if index in visited or len(visited) > MAX_NODES:
                raise FileError(self.path, f"field 'nodes' is no tree: node {index} is reached twice", DAMAGED)
            visited.add(index)
            matrix = parent @ self._node_matrix(node)
            todo.extend((matrix, child) for child in reversed(self._list("node.children", node.get("children", []))))
            if "mesh" in node:
                yield matrix, self.item("meshes", node["mesh"])

    def _list(self, where: str, value: object) -> list[Any]:
        if not isinstance(value, list):
            raise FileError(self.path, f"field '{where}' is {shown(value)}, expected a list", DAMAGED)
        return value

    def _numbers(self, where: str, value: object, count: int) -> NDArray[np.float64]:
        good = isinstance(value, list) and len(value) == count and all(type(n) in (int, float) and abs(n) < 1e30 for n in value)
        if not good:
            raise FileError(self.path, f"field '{where}' is {shown(value)}, expected {count} finite numbers", DAMAGED)
        return np.array(value, np.float64)

    def _node_matrix(self, node: dict[str, Any]) -> Matrix:
        """Section 3.5.3: a matrix, column by column, or translation * rotation (xyzw) * scale."""
        if "matrix" in node:
            return self._numbers("node.matrix", node["matrix"], 16).reshape(4, 4).T
        matrix = np.eye(4)
        x, y, z, w = self._numbers("node.rotation", node.get("rotation", [0, 0, 0, 1]), 4)
        turn = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        matrix[:3, :3] = turn * self._numbers("node.scale", node.get("scale", [1, 1, 1]), 3)
        matrix[:3, 3] = self._numbers("node.translation", node.get("translation", [0, 0, 0]), 3)
        return matrix


def open_document(path: Path) -> Document:
    """Parse a .glb or .gltf file; buffers are mapped, not read.

    Raises:
        FileError: unreadable, not glTF 2, or damaged.
    """
    with reading(path), path.open("rb") as file:
        size = path.stat().st_size
        head = file.read(20)
        if head[:4] != MAGIC:
            if size > MAX_JSON_BYTES * 16:
                raise FileError(path, f"has {size} bytes of JSON, expected at most {MAX_JSON_BYTES * 16}", "Export it as .glb")
            file.seek(0)
            return Document(path, _parse_json(path, file.read()), np.zeros(0, np.uint8))
        length = _check_glb(path, head, size)
        text = file.read(length)
        binary = _binary_chunk(path, file.read(8), 20 + length, size)
    return Document(path, _parse_json(path, text), binary)


def _check_glb(path: Path, head: bytes, size: int) -> int:
    """The length of the JSON chunk."""
    if len(head) < 20:
        raise FileError(path, f"header has {len(head)} bytes, expected 20", TRUNCATED)
    version, claimed, length, kind = struct.unpack_from("<IIII", head, 4)
    if version != 2:
        raise FileError(path, f"field 'version' is {version}, expected 2", "Export it as glTF 2")
    if claimed > size:
        raise FileError(path, f"field 'length' is {claimed}, the file has {size} bytes", TRUNCATED)
    if kind != JSON_CHUNK or length > min(size - 20, MAX_JSON_BYTES):
        raise FileError(path, f"first chunk has kind {kind:#x} and {length} bytes, expected JSON within the file", DAMAGED)
    return int(length)


def _binary_chunk(path: Path, head: bytes, offset: int, size: int) -> U8:
    if len(head) < 8:
        return np.zeros(0, np.uint8)
    length, kind = struct.unpack("<II", head)
    if kind != BIN_CHUNK or length == 0:
        return np.zeros(0, np.uint8)
    if offset + 8 + length > size:
        raise FileError(path, f"binary chunk claims {length} bytes, the file has {size - offset - 8} left", TRUNCATED)
    return np.memmap(path, np.uint8, "r", offset + 8, (length,))


def _parse_json(path: Path, text: bytes) -> dict[str, Any]:
    parsed = read_json(path, "its JSON", text)
    asset = parsed.get("asset")
    version = asset.get("version") if isinstance(asset, dict) else None
    if not isinstance(version, str) or not version.startswith("2."):
        raise FileError(path, f"field 'asset.version' is {shown(version)}, expected '2.0'", "Choose a glTF 2 file")
    return parsed
