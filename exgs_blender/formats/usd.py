# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenUSD files with prims of type ParticleField3DGaussianSplat (schema UsdVol, OpenUSD 26.03).

Standard deviations and opacity are linear in the file, rotations wxyz (in memory xyzw), SH coefficients follow each other Gaussian
by Gaussian. Y-up stages are right-up-back, so that y and z change their sign against a PLY (half a turn about x, exact); Z-up
stages and prims that are placed by transforms are turned with their SH; where a stage states metersPerUnit, metres are read.
Attributes are read and written by name, which needs OpenUSD but not the release that brought the schema.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
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
from ._limits import check_not_empty, check_scales, shown
from .registry import Format

PRIM_TYPE = "ParticleField3DGaussianSplat"
SH_DEGREE = "radiance:sphericalHarmonicsDegree"
SH_COEFFICIENTS_NAME = "radiance:sphericalHarmonicsCoefficients"
RDF_FROM_RUB = (1, -1, -1)
Y_UP_FROM_Z_UP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
MAX_LAYERS = 64
EXTENT_SIGMAS = 3
DAMAGED = "The file is damaged; export the capture again"
Matrix = NDArray[np.float64]


def _pxr(purpose: str) -> Any:
    """OpenUSD's Python modules."""
    try:
        import pxr.Gf
        import pxr.Sdf
        import pxr.Tf
        import pxr.Usd
        import pxr.UsdGeom
        import pxr.Vt
    except ImportError:
        raise MissingDependencyError("usd-core", purpose) from None
    return pxr


def _line(error: Exception) -> str:
    """The end of OpenUSD's message, in one line."""
    return " ".join(str(error).split())[-160:]


# Reading


def _check_layers(path: Path, pxr: Any) -> None:
    """Refuse a file that pulls in others from outside its folder: opening the stage would read them.

    Raises:
        FileError: not USD, or such a reference.
    """
    folder = path.resolve().parent
    todo, seen = [path.resolve()], {path.resolve()}
    while todo:
        current = todo.pop()
        layer = pxr.Sdf.Layer.FindOrOpen(str(current))
        if layer is None:
            raise FileError(path, f"its layer {shown(current.name)} cannot be opened as USD", DAMAGED)
        for name in layer.GetCompositionAssetDependencies():
            parts = PurePosixPath(name.replace("\\", "/")).parts
            if ":" in name or name.startswith(("/", "\\")) or ".." in parts or len(seen) > MAX_LAYERS:
                raise FileError(path, f"refers to the file {shown(name)}, expected only files in its own folder", "Flatten the stage first")
            target = current.parent.joinpath(*parts).resolve()
            if not target.is_relative_to(folder):
                raise FileError(path, f"refers to the file {shown(name)}, expected only files in its own folder", "Flatten the stage first")
            if target not in seen:
                seen.add(target)
                todo.append(target)


def _array(path: Path, prim: Any, name: str, width: int) -> NDArray[Any]:
    """An attribute, or its half-precision twin, at the first time that it has [n, width]; empty where it has no value."""
    for candidate in (name, name + "h"):
        attribute = prim.GetAttribute(candidate)
        if not attribute:
            continue
        samples = attribute.GetTimeSamples()
        value = attribute.Get(samples[0]) if samples else attribute.Get()
        if value is None:
            continue
        array = np.asarray(value)
        if array.dtype.kind != "f" or array.size % width or array.reshape(-1, width).shape != (len(array), width):
            raise FileError(
                path, f"attribute '{candidate}' of {prim.GetPath()} has shape {list(array.shape)}, expected [n, {width}]", DAMAGED
            )
        if len(array):
            return array.reshape(-1, width)
    return np.zeros((0, width), np.float32)


def _required(path: Path, prim: Any, name: str, width: int, rows: int) -> F32:
    array = _array(path, prim, name, width)
    if len(array) != rows:
        raise FileError(path, f"attribute '{name}' of {prim.GetPath()} has {len(array)} values, expected {rows} as 'positions'", DAMAGED)
    return array.astype(np.float32)


def _read_prim(path: Path, prim: Any, matrix: Matrix) -> Gaussians:
    means = _array(path, prim, "positions", 3)
    rows = len(means)
    check_not_empty(path, "positions", rows)
    degree = prim.GetAttribute(SH_DEGREE).Get() if prim.GetAttribute(SH_DEGREE) else None
    degree = 3 if degree is None else degree  # the schema's fallback
    if not isinstance(degree, int) or not 0 <= degree < len(SH_COEFFICIENTS):
        raise FileError(path, f"attribute '{SH_DEGREE}' is {shown(degree)}, expected 0 to {len(SH_COEFFICIENTS) - 1}", DAMAGED)
    each = SH_COEFFICIENTS[degree]
    sh = _array(path, prim, SH_COEFFICIENTS_NAME, 3)
    if len(sh) != rows * each:
        raise FileError(
            path, f"attribute '{SH_COEFFICIENTS_NAME}' has {len(sh)} values, expected {rows * each} at degree {degree}", DAMAGED
        )
    sh = sh.reshape(rows, each, 3)
    cloud = Gaussians(
        means=np.array(means, np.float32),
        quats=_required(path, prim, "orientations", 4, rows)[:, [3, 0, 1, 2]],
        scales=log_from_scale(np.maximum(_required(path, prim, "scales", 3, rows), 0)),
        opacities=logit_from_opacity(np.clip(_required(path, prim, "opacities", 1, rows)[:, 0], 0, 1)),
        sh0=np.array(sh[:, :1], np.float32),
        shN=np.array(sh[:, 1:], np.float32),
    )
    check_scales(path, cloud.scales)
    if np.array_equal(matrix, np.eye(4)):
        return cloud
    try:
        return transformed(cloud, matrix)
    except ExgsError as error:
        raise FileError(path, f"the transform of {prim.GetPath()} cannot be used ({error})", DAMAGED) from error


def _open_stage(path: Path, pxr: Any) -> Any:
    try:
        _check_layers(path, pxr)
        return pxr.Usd.Stage.Open(str(path.resolve()))
    except (pxr.Tf.ErrorException, RuntimeError) as error:
        raise FileError(path, f"cannot be opened as USD ({_line(error)})", DAMAGED) from error


def _y_up_from_stage(path: Path, stage: Any, pxr: Any) -> Matrix:
    """The stage's up axis and unit as a matrix to right-up-back axes and metres."""
    up = pxr.UsdGeom.GetStageUpAxis(stage)
    metres = pxr.UsdGeom.GetStageMetersPerUnit(stage) if stage.HasAuthoredMetadata("metersPerUnit") else 1.0
    if not 1e-9 < metres < 1e9:
        raise FileError(path, f"field 'metersPerUnit' is {shown(metres)}, expected a positive number", DAMAGED)
    return (Y_UP_FROM_Z_UP if up == "Z" else np.eye(4)) @ np.diag([metres, metres, metres, 1.0])


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read all splats of a stage as one cloud.

    Raises:
        FileError: not USD, no splats in it, an attribute is missing or has another length, files from elsewhere are referred to.
        MissingDependencyError: OpenUSD is not in this Python.
    """
    path = Path(path)
    pxr = _pxr("reading USD")
    report("reading USD", 0.0)
    stage = _open_stage(path, pxr)
    prims = [prim for prim in stage.Traverse() if prim.GetTypeName() == PRIM_TYPE]
    if not prims:
        raise FileError(path, f"has no prim of type {PRIM_TYPE}", "It holds no splats; choose another file")
    y_up = _y_up_from_stage(path, stage, pxr)
    placed = pxr.UsdGeom.XformCache()
    clouds: list[Gaussians] = []
    for done, prim in enumerate(prims):
        world = np.array(placed.GetLocalToWorldTransform(prim), np.float64).T  # OpenUSD multiplies rows
        clouds.append(_read_prim(path, prim, y_up @ world))
        report("reading USD", (done + 1) / len(prims))
    cloud = clouds[0] if len(clouds) == 1 else concatenate(clouds)
    sh = sh_signs(cloud.sh_degree, RDF_FROM_RUB)[:, None]
    for array, signs in ((cloud.means, np.array(RDF_FROM_RUB, np.float32)), (cloud.quats, quat_signs(RDF_FROM_RUB)), (cloud.shN, sh)):
        array *= signs  # in place, as the arrays are this function's own
    return cloud


# Writing


def _attributes(gaussians: Gaussians, pxr: Any) -> list[tuple[str, Any, Any]]:
    """(name, kind, function that makes the value): one after another, so that only one is doubled in memory."""
    kinds, vt = pxr.Sdf.ValueTypeNames, pxr.Vt
    flips = np.array(RDF_FROM_RUB, np.float32)

    def sh() -> Any:
        values = np.empty((len(gaussians), gaussians.shN.shape[1] + 1, 3), np.float32)
        values[:, :1] = gaussians.sh0
        np.multiply(gaussians.shN, sh_signs(gaussians.sh_degree, RDF_FROM_RUB)[:, None], out=values[:, 1:])
        return vt.Vec3fArray.FromNumpy(values.reshape(-1, 3))

    def quats() -> Any:
        return vt.QuatfArray.FromNumpy((unit_quats(gaussians.quats) * quat_signs(RDF_FROM_RUB))[:, [1, 2, 3, 0]])

    return [
        (SH_COEFFICIENTS_NAME, kinds.Float3Array, sh),
        ("positions", kinds.Point3fArray, lambda: vt.Vec3fArray.FromNumpy(gaussians.means * flips)),
        ("orientations", kinds.QuatfArray, quats),
        ("scales", kinds.Float3Array, lambda: vt.Vec3fArray.FromNumpy(scale_from_log(gaussians.scales))),
        ("opacities", kinds.FloatArray, lambda: vt.FloatArray.FromNumpy(opacity_from_logit(gaussians.opacities))),
    ]


def _extent(gaussians: Gaussians) -> tuple[F32, F32]:
    """Corners of a box around all Gaussians to three standard deviations, in the file's axes."""
    reach = EXTENT_SIGMAS * scale_from_log(gaussians.scales.max(axis=1, keepdims=True))
    ends = np.stack([(gaussians.means - reach).min(axis=0), (gaussians.means + reach).max(axis=0)]) * np.array(RDF_FROM_RUB, np.float32)
    return ends.min(axis=0), ends.max(axis=0)


def write(path: Path, gaussians: Gaussians, *, report: Report = silent) -> None:
    """Write a stage with one prim, Y up, one metre a unit; .usd and .usdc are binary, .usda is text; atomic.

    Raises:
        FileError: the file cannot be written.
        MissingDependencyError: OpenUSD is not in this Python.
    """
    pxr = _pxr("writing USD")
    sdf = pxr.Sdf
    with atomic_path(path) as part:
        try:
            part.unlink()
            layer = sdf.Layer.CreateNew(str(part.resolve()))
            stage = pxr.Usd.Stage.Open(layer)
            pxr.UsdGeom.SetStageUpAxis(stage, "Y")
            pxr.UsdGeom.SetStageMetersPerUnit(stage, 1.0)
            prim = stage.DefinePrim("/Splats", PRIM_TYPE)
            stage.SetDefaultPrim(prim)
            degree = prim.CreateAttribute(SH_DEGREE, sdf.ValueTypeNames.Int, False, sdf.VariabilityUniform)
            degree.Set(gaussians.sh_degree)
            corners = [pxr.Gf.Vec3f(*map(float, corner)) for corner in _extent(gaussians)]
            prim.CreateAttribute("extent", sdf.ValueTypeNames.Float3Array, False).Set(pxr.Vt.Vec3fArray(corners))
            attributes = _attributes(gaussians, pxr)
            for done, (name, kind, value) in enumerate(attributes):
                report("writing USD", done / len(attributes))
                prim.CreateAttribute(name, kind, False).Set(value())
                layer.Save()  # what is on disk needs no memory
        except (pxr.Tf.ErrorException, RuntimeError) as error:
            raise FileError(
                path, f"cannot be written ({' '.join(str(error).split())[-160:]})", "Check free space and permissions"
            ) from error
    report("writing USD", 1.0)


def _sniff(path: Path, head: bytes) -> bool:
    if head.startswith((b"PXR-USDC", b"#usda 1.")):
        return True
    return head.startswith(b"PK\x03\x04") and path.suffix.lower() == ".usdz"


FORMAT = Format(
    name="usd",
    title="OpenUSD (ParticleField3DGaussianSplat)",
    suffixes=(".usdc", ".usda", ".usd"),
    sniff=_sniff,
    read=read,
    write=write,
    priority=5,
    variants=".usd, .usda, .usdc, .usdz (needs `usd-core`)",
    conventions="right-up-back axes (Y or Z up), turned; metres; standard deviations and opacity linear; wxyz",
)
