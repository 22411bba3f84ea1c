# SPDX-License-Identifier: GPL-3.0-or-later
"""What to reach, and which rounding serves it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..errors import ExgsError
from .quantise import Steps, steps_for_quality

Method = Literal["merge", "exgs"]
SHOT = "shot"

QUALITIES = ((1000.0, 0.0), (125.0, 1.0), (12.0, 2.0), (3.0, 3.0))
"""(Ratio, the quality of ``steps_for_quality`` that serves it best), measured on three captures."""
COARSEST = 4.0
"""Largest factor by which a budget may change the steps."""
LEAST_LEVELS = 8


@dataclass(frozen=True)
class CompressSettings:
    """What to reach and how.

    Attributes:
        ratio: wanted ``Gaussians.ply_bytes`` over the file's bytes; the file is never larger, and at most 3 % smaller where
            the cloud allows it.
        method: "merge" (ours, the default) or "exgs" (the paper's voxel sampling and amplification).
        steps: rounding; None lets the ratio choose. A budget that a count of Gaussians does not meet exactly scales them a little.
        psnr: instead of the ratio, the quality that the views set aside for this must show, in dB.
        keep_all: near-lossless: every Gaussian stays, rounded finely; the ratio and the PSNR are what they become.
        rounds: of the re-fit; 0 leaves merged Gaussians as they are.
        source_name: what the file says that it was made from.
        views: what the file says of the views that were scored: "shot" where they were all of a camera path, so that none of them
            may judge the result; "file" or "generated" otherwise.
        up: what the file says of the up direction that views were generated with: an axis or a vector; "-y" is not told.
        reserve: bytes of the budget to leave free for notes that are added afterwards.

    Raises:
        ExgsError: the ratio, the PSNR or the method cannot be.
    """

    ratio: float = 100.0
    method: Method = "merge"
    steps: Steps | None = None
    psnr: float | None = None
    keep_all: bool = False
    rounds: int = 6
    source_name: str = ""
    views: str = ""
    up: str | tuple[float, ...] = "-y"
    reserve: int = 0

    def __post_init__(self) -> None:
        if not 1.0 <= self.ratio < 1e6:
            raise ExgsError(f"ratio is {self.ratio:g}, expected a number from 1 to a million")
        if self.psnr is not None and not 10.0 <= self.psnr <= 60.0:
            raise ExgsError(f"psnr is {self.psnr:g}, expected 10 to 60 dB")
        if self.method not in ("merge", "exgs"):
            raise ExgsError(f"method is '{self.method}', expected 'merge' or 'exgs'")

    @property
    def rounding(self) -> Steps:
        """The given steps, or those that serve the ratio."""
        return self.steps if self.steps is not None else steps_for(self.ratio)


def steps_for(ratio: float) -> Steps:
    """Rounding for a ratio: between the named levels, quality is linear in the logarithm of the ratio."""
    ratios, qualities = zip(*reversed(QUALITIES), strict=True)
    return steps_for_quality(float(np.interp(np.log(ratio), np.log(ratios), qualities)))


def scaled(steps: Steps, factor: float) -> Steps:
    """All steps ``factor`` times as long."""
    return replace(
        steps,
        position_bits=float(np.clip(steps.position_bits - np.log2(factor), 3.0, 20.0)),
        scale=steps.scale * factor,
        rotation=steps.rotation * factor,
        opacity_levels=int(np.clip(round(steps.opacity_levels / factor), LEAST_LEVELS, 1 << 16)),
        colour=steps.colour * factor,
        sh=steps.sh * factor,
    )
