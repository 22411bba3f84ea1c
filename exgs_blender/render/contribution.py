# SPDX-License-Identifier: GPL-3.0-or-later
"""What a set of views says about each Gaussian: the sums that pruning and scoring start from.

Runs on the CPU kernels, on machines with a CUDA device too: gsplat gives the summed weight only.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..cameras import Cameras
from ..errors import MissingDependencyError
from ..progress import Report, silent, track
from ..splats import BlendStatistics, Gaussians, SplatObject
from .frame import RasterizeMode
from .prepared import PreparedScene, prepare
from .view import View, view_of

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ViewSums:
    """One view's sums over its pixels, [N] each; the fields of ``BlendStatistics`` without ``_sum``."""

    weight: F64
    weight_max: F64
    hits: F64
    transmittance: F64
    weight_transmittance: F64


def blend_statistics(
    scene: Gaussians | SplatObject,
    cameras: Cameras,
    *,
    rasterize_mode: RasterizeMode = "classic",
    threads: int | None = None,
    report: Report = silent,
) -> BlendStatistics:
    """Blend every view of ``cameras`` and sum up what each Gaussian did.

    Args:
        scene: one cloud or one placed object; occlusion by other objects is not looked at.
        rasterize_mode: as for ``rasterize``.
        threads: at most so many CPU threads.

    Raises:
        ExgsError: the object's matrix cannot be used.
        MissingDependencyError: numba is missing.
    """
    if importlib.util.find_spec("numba") is None:
        raise MissingDependencyError("numba", "scoring Gaussians")
    from . import cpu_backend

    prepared = prepare(scene)
    totals = {name: np.zeros(len(prepared)) for name in ("weight", "weight_max", "hits", "transmittance", "weight_transmittance", "blur")}
    for index in track(range(len(cameras)), "scoring views", report):
        view = view_of(cameras, index)
        sums = cpu_backend.measure(prepared, view, rasterize_mode, threads)
        np.maximum(totals["weight_max"], sums.weight_max, out=totals["weight_max"])
        for name in ("weight", "hits", "transmittance", "weight_transmittance"):
            totals[name] += getattr(sums, name)
        totals["blur"] += sums.weight * pixel_area(prepared, view)
    single = {name: total.astype(np.float32) for name, total in totals.items()}
    return BlendStatistics(
        pixels=int((cameras.widths * cameras.heights).sum()),
        weight_sum=single["weight"],
        weight_max=single["weight_max"],
        hits=single["hits"],
        transmittance_sum=single["transmittance"],
        weight_transmittance_sum=single["weight_transmittance"],
        blur_sum=single["blur"],
    )


def pixel_area(scene: PreparedScene, view: View) -> F64:
    """[N] area of a pixel at each Gaussian's depth, in square world units: (z / f)^2, for an orthographic view 1 / f^2."""
    focal_area = float(view.K[0, 0] * view.K[1, 1])
    depth = np.ones(len(scene)) if view.ortho else scene.means @ view.viewmat[2, :3] + view.viewmat[2, 3]
    scale = float(np.linalg.det(view.viewmat[:3, :3])) ** (2 / 3)
    return depth**2 / (focal_area * scale)
