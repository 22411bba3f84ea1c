# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenUSD files with prims of type ParticleField3DGaussianSplat (schema UsdVol, OpenUSD 26.03).

Standard deviations and opacity are linear in the file, rotations wxyz (in memory xyzw), SH coefficients follow each other Gaussian
by Gaussian. Y-up stages are right-up-back, so that y and z change their sign against a PLY (half a turn about x, exact); Z-up
stages and prims that are placed by transforms are turned with their SH; where a stage states metersPerUnit, metres are read.
Attributes are read and written by name, which needs OpenUSD but not the release that brought the schema. Files are read in a
process of its own (``_usd_child``), as OpenUSD ends the process on some damaged ones.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..errors import ExgsError, FileError, MissingDependencyError
from ..progress import Report, silent
from ..splats import Gaussians, concatenate
from ..splats.activation import log_from_scale, logit_from_opacity, opacity_from_logit, scale_from_log, unit_quats
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ..splats.spherical_harmonics import sh_signs
from ..splats.transforms import quat_signs, transformed
from ._files import DAMAGED
from ._limits import check_not_empty, check_scales, shown
from ._usd_child import ATTRIBUTES, PRIM_TYPE, SH_DEGREE
from .registry import Format

RDF_FROM_RUB = (1, -1, -1)
Y_UP_FROM_Z_UP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
EXTENT_SIGMAS = 3
CHUNK = 1 << 16
PATIENCE_SECONDS, BYTES_PER_SECOND = 20, 5e6
"""How long OpenUSD may take over a file; most do 100 MB a second."""
Matrix = NDArray[np.float64]


# Reading


def _take_prims(path: Path, folder: Path) -> dict[str, Any]:
    """What ``_usd_child`` finds in the file; the arrays are in the folder then."""
    if importlib.util.find_spec("pxr") is None:
        raise MissingDependencyError("usd-core", "reading USD")
    command = [sys.executable, str(Path(__file__).with_name("_usd_child.py")), str(path.resolve()), str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    patience = PATIENCE_SECONDS + path.stat().st_size / BYTES_PER_SECOND
    try:
        subprocess.run(command, env=environment, capture_output=True, check=False, timeout=patience)
    except subprocess.TimeoutExpired:
        raise FileError(path, f"OpenUSD did not finish it within {patience:.0f} s", DAMAGED) from None
    except OSError as error:
        raise FileError(path, f"OpenUSD's process did not start ({error.strerror})", "Check the Python installation") from error
    if (folder / "prims.json").is_file():
        found: dict[str, Any] = json.loads((folder / "prims.json").read_text(encoding="utf-8"))
        return found
    if (folder / "missing.txt").is_file():
        raise MissingDependencyError("usd-core", "reading USD")
    refused = folder / "error.txt"
    raise FileError(path, refused.read_text(encoding="utf-8") if refused.is_file() else "OpenUSD's reader crashed on it", DAMAGED)


def _read_prim(path: Path, prim: dict[str, Any], arrays: list[NDArray[Any]], y_up_from_stage: Matrix) -> Gaussians:
    """One prim in right-up-back axes and metres."""
    rows = len(arrays[0])
    check_not_empty(path, "positions", rows)
    degree = 3 if prim["degree"] is None else prim["degree"]  # the schema's fallback
    if not 0 <= degree < len(SH_COEFFICIENTS):
        raise FileError(path, f"attribute '{SH_DEGREE}' is {shown(degree)}, expected 0 to {len(SH_COEFFICIENTS) - 1}", DAMAGED)
    each = SH_COEFFICIENTS[degree]
    for (name, _), array in zip(ATTRIBUTES.items(), arrays, strict=True):
        wanted = rows * each if "Harmonics" in name else rows
        if len(array) != wanted:
            found = f"attribute '{name}' of {prim['path']} has {len(array)} values, expected {wanted}"
            raise FileError(path, f"{found} for {rows} 'positions' at SH degree {degree}", DAMAGED)
    means, quats, scales, opacities, sh = arrays
    sh = sh.reshape(rows, each, 3)
    cloud = Gaussians(
        means=np.array(means, np.float32),
        quats=quats[:, [3, 0, 1, 2]],
        scales=log_from_scale(np.maximum(scales.astype(np.float32), 0)),
        opacities=logit_from_opacity(np.clip(opacities[:, 0].astype(np.float32), 0, 1)),
        sh0=np.array(sh[:, :1], np.float32),
        shN=np.array(sh[:, 1:], np.float32),
    )
    check_scales(path, cloud.scales)
    matrix = y_up_from_stage @ np.array(prim["matrix"], np.float64).T  # OpenUSD multiplies rows
    if np.array_equal(matrix, np.eye(4)):
        return cloud
    try:
        return transformed(cloud, matrix)
    except ExgsError as error:
        raise FileError(path, f"the transform of {prim['path']} cannot be used ({error})", DAMAGED) from error


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read all splats of a stage as one cloud.

    Raises:
        FileError: not USD, no splats in it, an attribute is missing or has another length, files from elsewhere are referred to.
        MissingDependencyError: OpenUSD is not in this Python.
    """
    path = Path(path)
    report("reading USD", 0.0)
    with tempfile.TemporaryDirectory(prefix="exgs-usd-") as temporary:
        found = _take_prims(path, Path(temporary))
        report("reading USD", 0.5)
        if not found["prims"]:
            raise FileError(path, f"has no prim of type {PRIM_TYPE}", "It holds no splats; choose another file")
        metres = found["metres"]
        if not 1e-9 < metres < 1e9:
            raise FileError(path, f"field 'metersPerUnit' is {shown(metres)}, expected a positive number", DAMAGED)
        y_up = (Y_UP_FROM_Z_UP if found["up"] == "Z" else np.eye(4)) @ np.diag([metres, metres, metres, 1.0])
        clouds: list[Gaussians] = []
        for index, prim in enumerate(found["prims"]):
            arrays = [_load(Path(temporary) / f"{index}-{number}.npy") for number in range(len(ATTRIBUTES))]
            clouds.append(_read_prim(path, prim, arrays, y_up))
            del arrays  # they are mapped, and on Windows a mapped file cannot be deleted
            report("reading USD", 0.5 + 0.5 * (index + 1) / len(found["prims"]))
    cloud = clouds[0] if len(clouds) == 1 else concatenate(clouds)
    sh = sh_signs(cloud.sh_degree, RDF_FROM_RUB)[:, None]
    for array, signs in ((cloud.means, np.array(RDF_FROM_RUB, np.float32)), (cloud.quats, quat_signs(RDF_FROM_RUB)), (cloud.shN, sh)):
        array *= signs  # in place, as the arrays are this function's own
    return cloud


def _load(path: Path) -> NDArray[Any]:
    """Mapped where there is something to map."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


# Writing


def _pxr() -> Any:
    """OpenUSD's Python modules."""
    try:
        import pxr.Gf
        import pxr.Sdf
        import pxr.Tf
        import pxr.Usd
        import pxr.UsdGeom
        import pxr.Vt
    except ImportError:
        raise MissingDependencyError("usd-core", "writing USD") from None
    return pxr


def _attributes(gaussians: Gaussians, pxr: Any) -> list[tuple[str, Any, Any]]:
    """(name, kind, function that makes the value): one after another, so that only one is doubled in memory."""
    kinds, vt = pxr.Sdf.ValueTypeNames, pxr.Vt
    flips = np.array(RDF_FROM_RUB, np.float32)

    def sh() -> Any:
        rest = gaussians.shN.shape[1]
        values = vt.Vec3fArray(len(gaussians) * (rest + 1))
        signs = sh_signs(gaussians.sh_degree, RDF_FROM_RUB)[:, None]
        for start in range(0, len(gaussians), CHUNK):
            piece = gaussians.select(slice(start, start + CHUNK))
            rows = np.concatenate([piece.sh0, piece.shN * signs], axis=1).reshape(-1, 3)
            at = start * (rest + 1)
            values[at : at + len(rows)] = vt.Vec3fArray.FromNumpy(rows)
        return values

    def quats() -> Any:
        return vt.QuatfArray.FromNumpy((unit_quats(gaussians.quats) * quat_signs(RDF_FROM_RUB))[:, [1, 2, 3, 0]])

    positions, orientations, scales, opacities, radiance = ATTRIBUTES
    return [
        (radiance, kinds.Float3Array, sh),
        (positions, kinds.Point3fArray, lambda: vt.Vec3fArray.FromNumpy(gaussians.means * flips)),
        (orientations, kinds.QuatfArray, quats),
        (scales, kinds.Float3Array, lambda: vt.Vec3fArray.FromNumpy(scale_from_log(gaussians.scales))),
        (opacities, kinds.FloatArray, lambda: vt.FloatArray.FromNumpy(opacity_from_logit(gaussians.opacities))),
    ]


def _extent(gaussians: Gaussians) -> tuple[F32, F32]:
    """Corners of a box around all Gaussians to three standard deviations, in the file's axes."""
    reach = EXTENT_SIGMAS * scale_from_log(gaussians.scales.max(axis=1, keepdims=True))
    ends = np.stack([(gaussians.means - reach).min(axis=0), (gaussians.means + reach).max(axis=0)]) * np.array(RDF_FROM_RUB, np.float32)
    return ends.min(axis=0), ends.max(axis=0)


def _fill(layer: Any, gaussians: Gaussians, pxr: Any, report: Report) -> None:
    """A stage with one prim, saved after each attribute: what is on disk needs no memory."""
    sdf = pxr.Sdf
    stage = pxr.Usd.Stage.Open(layer)
    pxr.UsdGeom.SetStageUpAxis(stage, "Y")
    pxr.UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    prim = stage.DefinePrim("/Splats", PRIM_TYPE)
    stage.SetDefaultPrim(prim)
    prim.CreateAttribute(SH_DEGREE, sdf.ValueTypeNames.Int, False, sdf.VariabilityUniform).Set(gaussians.sh_degree)
    corners = [pxr.Gf.Vec3f(*map(float, corner)) for corner in _extent(gaussians)]
    prim.CreateAttribute("extent", sdf.ValueTypeNames.Float3Array, False).Set(pxr.Vt.Vec3fArray(corners))
    attributes = _attributes(gaussians, pxr)
    for done, (name, kind, value) in enumerate(attributes):
        report("writing USD", done / len(attributes))
        prim.CreateAttribute(name, kind, False).Set(value())
        layer.Save()


def write(path: Path, gaussians: Gaussians, *, report: Report = silent) -> None:
    """Write a stage with one prim, Y up, one metre a unit; .usd and .usdc are binary, .usda is text; atomic.

    Raises:
        FileError: the file cannot be written.
        MissingDependencyError: OpenUSD is not in this Python.
    """
    pxr = _pxr()
    with atomic_path(path) as part:
        part.unlink()
        try:
            _fill(pxr.Sdf.Layer.CreateNew(str(part.resolve())), gaussians, pxr, report)
        except (pxr.Tf.ErrorException, RuntimeError) as error:
            raise FileError(path, f"cannot be written ({' '.join(str(error).split())[-160:]})", "Check free space") from error
    report("writing USD", 1.0)


def _sniff(path: Path, head: bytes) -> bool:
    if head.startswith((b"PXR-USDC", b"#usda 1.")):
        return True
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as package:
            names = package.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return path.suffix.lower() == ".usdz"  # let the reader say what is wrong with it
    return bool(names) and names[0].lower().endswith((".usd", ".usda", ".usdc"))  # the first one is the stage


FORMAT = Format(
    name="usd",
    title="OpenUSD (ParticleField3DGaussianSplat)",
    suffixes=(".usdc", ".usda", ".usd"),
    read_suffixes=(".usdz",),
    sniff=_sniff,
    read=read,
    write=write,
    priority=5,
    variants="binary, text and packages; needs `usd-core` (the extra `usd`)",
    conventions="right-up-back axes (Y or Z up), turned; metres; standard deviations and opacity linear; wxyz",
)
