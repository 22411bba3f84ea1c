# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by ``usd.read`` as a program of its own: takes the splats out of a USD file and puts them down as NumPy files.

    python _usd_child.py SOURCE FOLDER

OpenUSD ends the whole process on some damaged files (a fatal error in its path or layer code), and never ends on others. Here
that costs nothing but this process. Uses OpenUSD and NumPy only, not the package around it, whose name is unknown here.
Exit code 0 and FOLDER/prims.json on success; else FOLDER/error.txt with one line, or missing.txt where OpenUSD is not there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

PRIM_TYPE = "ParticleField3DGaussianSplat"
SH_DEGREE = "radiance:sphericalHarmonicsDegree"
ATTRIBUTES = {
    "positions": 3,
    "orientations": 4,
    "scales": 3,
    "opacities": 1,
    "radiance:sphericalHarmonicsCoefficients": 3,
}
MAX_LAYERS = 64
MAX_PRIMS = 1024
MAX_EXPANSION, ALWAYS_ALLOWED_BYTES = 200, 64 << 20
"""Bytes of arrays for each byte of the files, and what is harmless whatever the files' size: one prim can be referred to many times."""
SPARE_BYTES = 1 << 30
BYTES_PER_FILE_BYTE = 20


class RefusedError(Exception):
    """One line for the user."""


class MissingError(Exception):
    """OpenUSD cannot be imported here: Blender has its own, which works in Blender alone."""


def limit_memory(source: Path) -> None:
    """Where the system can: what an honest file of this size needs, and a gigabyte for OpenUSD itself.

    Of written memory: its threads reserve far more addresses than they use, and it dies where it cannot have those.
    """
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = SPARE_BYTES + BYTES_PER_FILE_BYTE * source.stat().st_size
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def check_layers(source: Path, sdf: Any) -> int:
    """Refuse a file that pulls in others from outside its folder: opening the stage would read them. The bytes of all that it needs."""
    folder = source.resolve().parent
    todo, seen = [source.resolve()], {source.resolve()}
    while todo:
        current = todo.pop()
        layer = sdf.Layer.FindOrOpen(str(current))
        if layer is None:
            raise RefusedError(f"its layer '{current.name}' cannot be opened as USD")
        for name in layer.GetCompositionAssetDependencies():
            parts = PurePosixPath(name.replace("\\", "/")).parts
            target = current.parent.joinpath(*parts).resolve()
            outside = ":" in name or name.startswith(("/", "\\")) or ".." in parts or not target.is_relative_to(folder)
            if outside or len(seen) > MAX_LAYERS:
                raise RefusedError(f"refers to the file '{name[:60]}', expected only files in its own folder")
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return sum(path.stat().st_size for path in seen)


def value_of(prim: Any, name: str, width: int) -> Any:
    """An attribute or its half-precision twin, at the first time that it has: [n, width] float; empty where it has no value."""
    for candidate in (name, name + "h"):
        attribute = prim.GetAttribute(candidate)
        samples = attribute.GetTimeSamples() if attribute else []
        value = (attribute.Get(samples[0]) if samples else attribute.Get()) if attribute else None
        if value is None:
            continue
        array = np.asarray(value)
        if array.dtype.kind != "f" or array.shape != ((len(array), width) if width > 1 else (len(array),)):
            raise RefusedError(f"attribute '{candidate}' of {prim.GetPath()} has shape {list(array.shape)}, expected [n, {width}]")
        if len(array):
            return array.reshape(-1, width)
    return np.zeros((0, width), np.float32)


def take_prims(source: Path, folder: Path) -> dict[str, Any]:
    """Write each prim's arrays as ``NUMBER-ATTRIBUTE.npy``; what else matters comes back."""
    try:
        from pxr import Sdf, Usd, UsdGeom
    except ImportError as error:
        raise MissingError(str(error)) from error
    left = max(ALWAYS_ALLOWED_BYTES, MAX_EXPANSION * check_layers(source, Sdf))
    stage = Usd.Stage.Open(str(source.resolve()))
    placed = UsdGeom.XformCache()
    prims: list[dict[str, Any]] = []
    for prim in stage.Traverse():
        if prim.GetTypeName() != PRIM_TYPE:
            continue
        if len(prims) == MAX_PRIMS:
            raise RefusedError(f"has more than {MAX_PRIMS} prims of type {PRIM_TYPE}")
        for number, (name, width) in enumerate(ATTRIBUTES.items()):
            value = value_of(prim, name, width)
            left -= value.nbytes
            if left < 0:
                raise RefusedError(f"has more values in its prims of type {PRIM_TYPE} than a file of its size can hold")
            np.save(folder / f"{len(prims)}-{number}.npy", value, allow_pickle=False)
        degree = prim.GetAttribute(SH_DEGREE).Get() if prim.GetAttribute(SH_DEGREE) else None
        matrix = [list(row) for row in placed.GetLocalToWorldTransform(prim)]
        prims.append({"path": str(prim.GetPath()), "matrix": matrix, "degree": degree if isinstance(degree, int) else None})
    metres = UsdGeom.GetStageMetersPerUnit(stage) if stage.HasAuthoredMetadata("metersPerUnit") else 1.0
    return {"prims": prims, "up": str(UsdGeom.GetStageUpAxis(stage)), "metres": metres}


def one_line(error: Exception) -> str:
    """The end of a message; OpenUSD's quote the file, whatever bytes stand there."""
    try:
        return " ".join(str(error).split())[-160:]
    except UnicodeError:
        return type(error).__name__


def main(source: Path, folder: Path) -> int:
    limit_memory(source)
    try:
        found = take_prims(source, folder)
        (folder / "prims.json").write_text(json.dumps(found), encoding="utf-8")
    except MissingError as error:
        (folder / "missing.txt").write_text(str(error), encoding="utf-8", errors="replace")
    except RefusedError as error:
        (folder / "error.txt").write_text(str(error), encoding="utf-8", errors="replace")
    except Exception as error:  # OpenUSD raises many kinds; each of them means that the file is no good
        (folder / "error.txt").write_text(f"cannot be opened as USD ({one_line(error)})", encoding="utf-8", errors="replace")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
