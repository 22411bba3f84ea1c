# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints of gsplat's and nerfstudio's trainers as NumPy archives (.npz): raw parameters by name.

gsplat (examples/simple_trainer.py): means, quats (wxyz), scales (log), opacities (logit), sh0, shN.
nerfstudio (splatfacto): means, quats, scales, opacities [N, 1], features_dc [N, 3], features_rest [N, K-1, 3].
Names may have a prefix that ends in a dot or slash, as in "splats.means". Pickled objects are never read, so a .pt or .ckpt has
to be saved as .npz where its trainer is installed: ``numpy.savez(path, **{k: v.cpu().numpy() for k, v in splats.items()})``.
Format of a member: NumPy enhancement proposal 1 (NEP 1).
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import MAX_LOGIT
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ._files import TRUNCATED
from ._limits import check_not_empty, check_scales, plausible, shown
from .registry import Format

HINT = "Save the trainer's parameters with numpy.savez"
NAMES = {
    "means": "means",
    "quats": "quats",
    "scales": "scales",
    "opacities": "opacities",
    "sh0": "sh0",
    "shN": "shN",
    "features_dc": "sh0",
    "features_rest": "shN",
}
REQUIRED = ("means", "quats", "scales", "opacities", "sh0")
CHUNK_BYTES = 1 << 22
KINDS = "fiu"


def _field(member: str) -> str | None:
    """Which field of ``Gaussians`` a member of the archive is."""
    name = member.removesuffix(".npy").replace("/", ".").rsplit(".", 1)[-1]
    return NAMES.get(name) if member.endswith(".npy") else None


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        field = _field(info.filename)
        if field in found:
            raise FileError(path, f"holds '{field}' twice, as {shown(found[field].filename)} and {shown(info.filename)}", HINT)
        if field:
            found[field] = info
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise FileError(path, f"has no array '{missing[0]}', expected the parameters of a 3DGS trainer", HINT)
    return found


def _read_array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """One member, streamed; its header is checked against the archive's sizes before anything is allocated."""
    where = f"array {shown(info.filename)}"
    try:
        with archive.open(info) as member:
            shape, fortran, dtype = _read_header(path, where, member)
            if dtype.kind not in KINDS or fortran:
                raise FileError(path, f"{where} holds {dtype} in {'Fortran' if fortran else 'C'} order, expected numbers in C order", HINT)
            size = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
            if size > info.file_size or any(n < 0 for n in shape):
                raise FileError(path, f"{where} claims shape {shown(shape)}, its {info.file_size} bytes cannot hold that", HINT)
            if not plausible(size, info.compress_size):
                raise FileError(path, f"{where} claims {size} bytes, which {info.compress_size} packed ones cannot hold", HINT)
            data = np.empty(size, np.uint8)
            done = 0
            while done < size:
                piece = member.read(min(CHUNK_BYTES, size - done))
                if not piece:
                    raise FileError(path, f"{where} ends after {done} of {size} bytes", TRUNCATED)
                data[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
                done += len(piece)
    except (OSError, EOFError, RuntimeError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(path, f"{where} cannot be read ({str(error)[:120]})", HINT) from error
    return data.view(dtype).reshape(shape)


def _read_header(path: Path, where: str, member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran order, and kind of a member."""
    try:
        version = np.lib.format.read_magic(member)  # type: ignore[no-untyped-call]
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(member)  # type: ignore[no-untyped-call]
    except Exception as error:  # NumPy parses a Python literal there: a damaged one raises whatever tokenizer and parser think of
        raise FileError(path, f"the header of {where} cannot be read ({str(error)[:120]})", HINT) from error
    return header


def _shaped(path: Path, field: str, array: NDArray[Any], count: int) -> F32:
    """As ``Gaussians`` wants it; a missing or additional axis of length 1 is forgiven."""
    tails: dict[str, tuple[int, ...]] = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "sh0": (1, 3), "shN": (-1, 3)}
    try:
        shaped = array.astype(np.float32, copy=False).reshape(count, *tails[field])
    except ValueError:
        shaped = np.zeros((0, 0, 0), np.float32)
    good = len(shaped) == count and len(array) == count
    if not good or (field == "shN" and shaped.shape[1] + 1 not in SH_COEFFICIENTS):
        wanted = [count, *("K-1" if n < 0 else n for n in tails[field])]
        raise FileError(path, f"array '{field}' has shape {list(array.shape)}, expected {wanted}", HINT)
    return shaped


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read a checkpoint; infinite opacity logits become +-16 as in a PLY.

    Raises:
        FileError: no ZIP file, an array is missing, of another shape or kind, or claims more than it holds.
    """
    path = Path(path)
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise FileError(path, f"not a whole ZIP file ({error})", TRUNCATED) from error
    arrays: dict[str, F32] = {}
    with archive:
        members = _members(path, archive)
        count = 0
        for done, field in enumerate((*REQUIRED, "shN")):
            report("reading npz", done / (len(REQUIRED) + 1))
            if field not in members:
                arrays[field] = np.zeros((count, 0, 3), np.float32)
                continue
            array = _read_array(path, archive, members[field])
            if field == "means":
                count = len(array) if array.ndim else 0
                check_not_empty(path, "means", count)
            arrays[field] = _shaped(path, field, array, count)
    report("reading npz", 1.0)
    opacities = arrays["opacities"]
    opacities[np.isposinf(opacities)] = MAX_LOGIT
    opacities[np.isneginf(opacities)] = -MAX_LOGIT
    check_scales(path, arrays["scales"])
    return Gaussians(**arrays)


def _sniff(path: Path, head: bytes) -> bool:
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return path.suffix.lower() == ".npz"  # let the reader say what is wrong with it
    return any(_field(name) for name in names) or path.suffix.lower() == ".npz"


FORMAT = Format(
    name="npz",
    title="NumPy archive (gsplat, nerfstudio)",
    suffixes=(".npz",),
    sniff=_sniff,
    read=read,
    variants="parameters of gsplat's and nerfstudio's trainers; never pickles",
    conventions="as in the PLY",
)
