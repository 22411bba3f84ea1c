# SPDX-License-Identifier: GPL-3.0-or-later
"""Meeting a budget of bytes: first by the number of Gaussians, then to the last percent by the rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..progress import Report
from ..splats import Gaussians
from ..splats.gaussians import F32
from .bitstream import encode_cloud
from .clock import Clock
from .quantise import NEAR_LOSSLESS, Quantised, Steps, quantise_with_order, requantise
from .settings import COARSEST, scaled
from .thinning import Thinned, Thinning

Notes = Callable[[int], dict[str, Any]]
"""Metadata of a file with so many Gaussians."""

FIRST_BITS = 56.0
"""Bits of a Gaussian to begin with, a little low: the first trial should keep too many, since merging can go on but not back."""
AIM, TOLERANCE = 0.99, 0.02
BUDGET_SHARE = (1 - TOLERANCE, 1.0)
COUNT_TOLERANCE = 0.06
"""The number of Gaussians need not be exact, since the rounding makes up for it."""
MAX_TRIALS = 8
FIXED_BYTES = 600
"""About what a file takes whatever its number of Gaussians."""
BITS_PER_OCTAVE = 12.0
"""What a Gaussian's bits change by, about, when all steps double."""


@dataclass(frozen=True, eq=False)
class Coded:
    """A file: what is in it, its bytes, their parts, and [N] the weight of each Gaussian in the file's order."""

    quantised: Quantised
    data: bytes
    sections: dict[str, int]
    weight: F32


def thinned_to(source: Thinning, steps: Steps, budget: int, notes: Notes, clock: Clock, report: Report) -> Thinned:
    """A cloud whose file is about as large as the budget with these steps; all there is where even that is smaller."""
    count = int(np.clip(8 * budget / FIRST_BITS, 1, source.available))
    thinned = clock.run("thin", source.reduced_to, count, report)
    for _ in range(MAX_TRIALS):
        size = len(coded_with(thinned, steps, notes, clock).data)
        kept = len(thinned.gaussians)
        if abs(size / budget - 1) <= COUNT_TOLERANCE or (size < budget and kept >= source.available):
            break
        count = int(np.clip(kept * max(AIM * budget - FIXED_BYTES, 1) / max(size - FIXED_BYTES, 1), 1, source.available))
        if count == kept:
            break
        thinned = clock.run("thin", source.reduced_to, count, report)
    return thinned


def fill_budget(thinned: Thinned, steps: Steps, budget: int, notes: Notes, clock: Clock, report: Report) -> Coded:
    """The cloud with the finest rounding, all steps alike, that fits the budget; with the coarsest if none does.

    A secant search over the logarithm of the factor on all steps.
    """
    octaves, kept = 0.0, max(len(thinned.gaussians), 1)
    finest = min(float(np.log2(NEAR_LOSSLESS.scale / steps.scale)), 0.0)
    tried: list[tuple[float, int]] = []
    best: Coded | None = None
    for trial in range(MAX_TRIALS):
        report("code", trial / MAX_TRIALS)
        coded = coded_with(thinned, scaled(steps, 2.0**octaves), notes, clock)
        size = len(coded.data)
        tried.append((octaves, size))
        if best is None or (size <= budget and (len(best.data) > budget or size > len(best.data))):
            best = coded
        if BUDGET_SHARE[0] * budget <= size <= budget:
            break
        following = float(np.clip(octaves + (size - AIM * budget) / _bytes_per_octave(tried, kept), finest, np.log2(COARSEST)))
        if abs(following - octaves) < 1e-3:
            break
        octaves = following
    report("code", 1.0)
    assert best is not None
    return best


def recoded(coded: Coded, look: Gaussians, budget: int, notes: Notes, clock: Clock) -> Coded:
    """The same geometry with other opacities and colours; view-dependent colour is rounded a little more if the budget asks for it."""
    steps = coded.quantised.steps
    for _ in range(MAX_TRIALS):
        same_geometry = replace(coded.quantised, steps=steps)
        quantised = clock.run("quantise", requantise, same_geometry, look, coded.weight)
        data, sections = clock.run("code", encode_cloud, quantised, notes(len(quantised)))
        if len(data) <= budget:
            return Coded(quantised, data, sections, coded.weight)
        excess = len(data) / budget - AIM
        steps = replace(steps, sh=steps.sh * (1 + 2.5 * excess), colour=steps.colour * (1 + 0.5 * excess))
    return coded


def coded_with(thinned: Thinned, steps: Steps, notes: Notes, clock: Clock) -> Coded:
    """Quantise and code, whatever the size."""
    quantised, order = clock.run("quantise", quantise_with_order, thinned.gaussians, steps, thinned.weight)
    data, sections = clock.run("code", encode_cloud, quantised, notes(len(quantised)))
    return Coded(quantised, data, sections, thinned.weight[order])


def _bytes_per_octave(tried: list[tuple[float, int]], kept: int) -> float:
    """How many bytes fewer steps twice as long make: from the last two trials where they tell, else about."""
    usual = kept * BITS_PER_OCTAVE / 8
    if len(tried) < 2:
        return usual
    (x0, y0), (x1, y1) = tried[-2:]
    return float(np.clip((y0 - y1) / (x1 - x0), 0.2 * usual, 3 * usual))
