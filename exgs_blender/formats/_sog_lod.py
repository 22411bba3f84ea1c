# SPDX-License-Identifier: GPL-3.0-or-later
"""Streamed SOG: ``lod-meta.json`` names SOG parts and which ranges of them make up each level of detail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ..splats import Gaussians, concatenate
from ._files import DAMAGED
from ._json import read_json
from ._limits import shown
from ._sog_source import MAX_META_BYTES, META, FolderSource, plain_name

LOD_META = "lod-meta.json"
Range = tuple[int, int]


def _part_path(lod_meta: Path, name: object) -> Path:
    """A part beside ``lod-meta.json`` or in a folder below it."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else (name,)
    path = lod_meta.parent.joinpath(*(plain_name(lod_meta, part) for part in parts))
    if path.name == LOD_META:
        raise FileError(lod_meta, f"names {shown(name)} as a part, expected a SOG capture", DAMAGED)
    return path


def _whole(path: Path, value: object, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise FileError(path, f"field '{key}' of a level in 'tree' is {shown(value)}, expected a whole number", DAMAGED)
    return value


def _of_level(path: Path, lods: dict[str, Any], level: int) -> Any:
    """The entry of this level, or of the nearest finer one that the leaf has, or of its finest."""
    if not all(key.isascii() and key.isdigit() and len(key) < 10 for key in lods):
        raise FileError(path, f"a leaf of field 'tree' has the levels {shown(sorted(lods))}, expected whole numbers", DAMAGED)
    finer = [key for key in lods if int(key) <= level]
    return lods[max(finer, key=int) if finer else min(lods, key=int)]


def _ranges(path: Path, tree: object, level: int) -> dict[int, list[Range]]:
    """Walk the tree; from each leaf take one level -> ranges (start, end) by file index."""
    ranges: dict[int, list[Range]] = {}
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if not isinstance(node, dict):
            raise FileError(path, "a node of field 'tree' is not an object", DAMAGED)
        children = node.get("children")
        nodes.extend(reversed(children) if isinstance(children, list) else [])
        lods = node.get("lods")
        if not isinstance(lods, dict) or not lods:
            continue
        entry = _of_level(path, lods, level)
        index, offset, count = (
            _whole(path, entry.get(key) if isinstance(entry, dict) else None, key) for key in ("file", "offset", "count")
        )
        if count:
            ranges.setdefault(index, []).append((offset, offset + count))
    return ranges


def _check_level(path: Path, meta: dict[str, Any], level: int) -> None:
    levels = meta.get("lodLevels")
    if level and (isinstance(levels, bool) or not isinstance(levels, int) or not 0 <= level < levels):
        raise FileError(
            path, f"level {level} was asked for, field 'lodLevels' is {shown(levels)}", "Ask for a lower level; 0 is the finest"
        )


def _wanted(path: Path, name: object, ranges: list[Range], count: int) -> NDArray[np.bool_]:
    """Which of a part's Gaussians some range holds [count], however many ranges overlap."""
    starts, ends = (np.array(side, object) for side in zip(*ranges, strict=True))
    if ends.max() > count:
        raise FileError(path, f"field 'tree' wants Gaussians up to {ends.max()} of {shown(name)}, which holds {count}", DAMAGED)
    begun = np.bincount(starts.astype(np.int64), minlength=count + 1) - np.bincount(ends.astype(np.int64), minlength=count + 1)
    return np.cumsum(begun)[:count] > 0


def parts_of_level(path: Path, read_part: Callable[[Path], Gaussians], level: int) -> Gaussians:
    """One level of a streamed capture, its environment included.

    Args:
        path: the ``lod-meta.json``.
        read_part: reads one SOG part.
        level: 0 is the finest. A leaf that lacks it gives the nearest finer one that it has.

    Raises:
        FileError: a field is missing, a range lies outside its part, or there is no such level.
    """
    meta = read_json(path, f"part '{LOD_META}'", FolderSource(path.parent, path.name).read(META, MAX_META_BYTES))
    _check_level(path, meta, level)
    names = meta.get("filenames")
    if not isinstance(names, list) or len({str(name) for name in names}) != len(names):
        raise FileError(path, "field 'filenames' should be a list of different SOG parts", DAMAGED)
    clouds: list[Gaussians] = []
    read_paths: set[Path] = set()
    for index, ranges in sorted(_ranges(path, meta.get("tree"), level).items()):
        if index >= len(names):
            raise FileError(path, f"field 'tree' names file {index}, field 'filenames' has {len(names)}", DAMAGED)
        part = _part_path(path, names[index])
        if part in read_paths:
            raise FileError(path, f"field 'filenames' names {shown(names[index])} twice", DAMAGED)
        read_paths.add(part)
        cloud = read_part(part)
        wanted = _wanted(path, names[index], ranges, len(cloud))
        clouds.append(cloud if wanted.all() else cloud.select(wanted))
    if meta.get("environment") is not None:
        clouds.append(read_part(_part_path(path, meta["environment"])))
    if not clouds:
        raise FileError(path, "field 'tree' has no level of detail with Gaussians", DAMAGED)
    return concatenate(clouds)
