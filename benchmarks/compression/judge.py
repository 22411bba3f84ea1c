# SPDX-License-Identifier: GPL-3.0-or-later
"""How a file looks on the views that judge, against the unpruned source."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exgs_blender.evaluate.metrics import judged, psnr, ssim
from exgs_blender.formats import read
from exgs_blender.render.rasterize import rasterize_all
from exgs_blender.splats import Gaussians
from exgs_blender.splats.gaussians import F32

from .scenes import Capture

READINGS = 3


@dataclass(frozen=True)
class Verdict:
    """Means over the judging views, dB and SSIM; the worst view's PSNR."""

    psnr: float
    worst_psnr: float
    ssim: float


class Judge:
    """Holds the source's frames of a capture, over black and clipped to 0..1."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self.truth = self.frames(capture.cloud)

    def frames(self, cloud: Gaussians) -> list[F32]:
        """[H, W, 3] of each judging view."""
        return [judged(frame.rgb) for frame in rasterize_all(cloud, self._capture.judge)]

    def verdict(self, cloud: Gaussians) -> Verdict:
        frames = self.frames(cloud)
        quality = [psnr(image, truth) for image, truth in zip(frames, self.truth, strict=True)]
        similarity = [ssim(image, truth) for image, truth in zip(frames, self.truth, strict=True)]
        return Verdict(float(np.mean(quality)), min(quality), float(np.mean(similarity)))


def timed_reading(path: Path) -> tuple[Gaussians, float]:
    """A file's cloud and the seconds of the fastest of a few readings."""
    best = np.inf
    for _ in range(READINGS):
        start = time.perf_counter()
        cloud = read(path)
        best = min(best, time.perf_counter() - start)
    return cloud, float(best)
