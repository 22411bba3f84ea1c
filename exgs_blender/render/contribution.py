# SPDX-License-Identifier: GPL-3.0-or-later
"""What a set of views says about each Gaussian: the sums that pruning and scoring start from.

Runs on the CPU kernels, on machines with a CUDA device too: gsplat gives the summed weight only.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

from ..cameras import Cameras
from ..errors import MissingDependencyError
from ..progress import Report, silent, track
from ..splats import BlendStatistics, Gaussians, SplatObject
from ..splats.gaussians import F32
from .frame import RasterizeMode
from .prepared import PreparedScene, prepare
from .view import view_of

OnFrame = Callable[[int, F32, F32], None]
"""``on_frame(index, rgb [H, W, 3], alpha [H, W])``: a view's image as ``rasterize`` gives it, premultiplied."""


def blend_statistics(
    scene: Gaussians | SplatObject | PreparedScene,
    cameras: Cameras,
    *,
    rasterize_mode: RasterizeMode = "classic",
    threads: int | None = None,
    report: Report = silent,
    frames: OnFrame | None = None,
) -> BlendStatistics:
    """Blend every view of ``cameras`` and sum up what each Gaussian did.

    Args:
        scene: one cloud or one placed object, or what ``prepare`` made of it; occlusion by other objects is not looked at.
        rasterize_mode: as for ``rasterize``.
        threads: at most so many CPU threads.
        frames: is handed each view's image, which comes at the price of its colours only; the arrays are the listener's to keep.

    Raises:
        ExgsError: the object's matrix cannot be used.
        MissingDependencyError: numba is missing.
    """
    if importlib.util.find_spec("numba") is None:
        raise MissingDependencyError("numba", "scoring Gaussians")
    from . import cpu_backend, cpu_blend

    prepared = scene if isinstance(scene, PreparedScene) else prepare(scene)
    sums = np.zeros((len(prepared), cpu_blend.MEASURES))
    for index in track(range(len(cameras)), "scoring views", report):
        view = view_of(cameras, index)
        rgb, alpha, _ = cpu_backend.measure(prepared, view, rasterize_mode, sums, coloured=frames is not None, threads=threads)
        if frames is not None:
            frames(index, rgb, alpha)
    single = sums.T.astype(np.float32)
    return BlendStatistics(
        pixels=int((cameras.widths * cameras.heights).sum()),
        weight_sum=single[cpu_blend.WEIGHT],
        weight_max=single[cpu_blend.WEIGHT_MAX],
        hits=single[cpu_blend.HITS],
        transmittance_sum=single[cpu_blend.TRANSMITTANCE],
        weight_transmittance_sum=single[cpu_blend.WEIGHT_TRANSMITTANCE],
        blur_sum=single[cpu_blend.BLUR],
    )
