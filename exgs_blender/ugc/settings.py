# SPDX-License-Identifier: GPL-3.0-or-later
"""What to reach, and which rounding serves it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from ..errors import ExgsError
from .quantise import BALANCED, EXTREME, FINE, NEAR_LOSSLESS, Steps

Method = Literal["merge", "exgs"]
SHOT = "shot"

LEVELS = ((1000.0, EXTREME), (100.0, BALANCED), (12.0, FINE), (3.0, NEAR_LOSSLESS))
"""(Ratio, rounding that serves it best), measured on three captures; between them it is interpolated."""
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
    """Rounding for a ratio: between the named levels, the logarithm of each step is linear in that of the ratio."""
    at = np.log(np.clip(ratio, LEVELS[-1][0], LEVELS[0][0]))
    for (high, coarse), (low, fine) in pairwise(LEVELS):
        if at >= np.log(low):
            share = float((at - np.log(low)) / (np.log(high) - np.log(low)))
            return _between(fine, coarse, share)
    return LEVELS[-1][1]


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


def _between(fine: Steps, coarse: Steps, share: float) -> Steps:
    def mixed(a: float, b: float) -> float:
        return float(np.exp((1 - share) * np.log(a) + share * np.log(b)))

    return Steps(
        position_bits=(1 - share) * fine.position_bits + share * coarse.position_bits,
        scale=mixed(fine.scale, coarse.scale),
        rotation=mixed(fine.rotation, coarse.rotation),
        opacity_levels=round(mixed(fine.opacity_levels, coarse.opacity_levels)),
        colour=mixed(fine.colour, coarse.colour),
        sh=mixed(fine.sh, coarse.sh),
        sh_trade=(1 - share) * fine.sh_trade + share * coarse.sh_trade,
    )
