# SPDX-License-Identifier: GPL-3.0-or-later
"""Re-fit: the survivors settle into what the source looks like from the scored views. Ours, not the paper's.

A handful of Gauss-Newton rounds on the rendered residuals: each Gaussian solves its own few equations, damped towards
what it is, and all take the step together, with some of the last step's momentum. No learning rates, no training run; the number of
rounds is small and fixed, and none of the views that judge takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import MissingDependencyError
from ..progress import Report, silent
from ..splats import NormalEquations
from ..splats.ellipsoids import Ellipsoids
from ..splats.gaussians import F32
from ..splats.statistics import COLOUR, POSITION, SHAPE

PROBE_EVERY = 3
"""Every third view of a round tells how long the step should be."""
STEP_LENGTHS = (0.2, 1.3)


class Fit(Protocol):
    """The scored views, as the re-fit asks them. Each round may take a part of them as its turn."""

    def equations(self, cloud: Ellipsoids, turn: int, report: Report = silent) -> NormalEquations:
        """Linearised residuals of the turn's views."""

    def errors(self, cloud: Ellipsoids, turn: int, every: int) -> tuple[float, ...]:
        """Squared residuals (``NormalEquations.errors``) of every so many of the turn's views."""


@dataclass(frozen=True)
class RefitSettings:
    """How far the re-fit goes.

    Attributes:
        rounds: Gauss-Newton steps.
        damping: of positions, shapes and opacities, relative to the median curvature of the cloud.
        ridge: of the SH coefficients of degree 0, and of those above, relative to each Gaussian's own weight.
        momentum: share of the last step that is taken again.
        first_turn: which part of the views begins.
        geometry: whether positions and shapes may move; without it only opacity and colour do.
    """

    rounds: int = 6
    damping: float = 0.1
    ridge: tuple[float, float] = (0.02, 0.5)
    momentum: float = 0.5
    first_turn: int = 0
    geometry: bool = True


def refit(cloud: Ellipsoids, fit: Fit, settings: RefitSettings | None = None, report: Report = silent) -> Ellipsoids:
    """The cloud after a few rounds.

    Raises:
        MissingDependencyError: numba is not in this Python.
    """
    kernels = _kernels()
    settings = settings or RefitSettings()
    last: F32 | None = None
    for done in range(settings.rounds):
        turn = settings.first_turn + done
        found = fit.equations(cloud, turn, lambda _, share, done=done: report("refit", (done + share) / settings.rounds))  # type: ignore[misc]
        direction = _direction(found, settings, kernels)
        if last is not None:
            direction += np.float32(settings.momentum) * last
        length, whole = _step(cloud, direction, found, fit, turn, kernels)
        cloud = whole if length == 1.0 else _moved(cloud, direction, length, kernels)
        last = direction * np.float32(length)
    report("refit", 1.0)
    return cloud


def _step(cloud: Ellipsoids, direction: F32, found: NormalEquations, fit: Fit, turn: int, kernels: Any) -> tuple[float, Ellipsoids]:
    """How long the step should be, and the cloud after one of length 1.

    The error along the step is a parabola: its start and its slope are known, a few views measure it at 1.
    """
    whole = _moved(cloud, direction, 1.0, kernels)
    start = sum(found.errors[::PROBE_EVERY])
    end = sum(fit.errors(whole, turn, PROBE_EVERY))
    slope = 2.0 * _slope(found, direction) * start / max(sum(found.errors), 1e-30)
    curvature = end - start + slope
    best = slope / (2.0 * curvature) if curvature > 0 else STEP_LENGTHS[1]
    return float(np.clip(best, *STEP_LENGTHS)), whole


def _slope(found: NormalEquations, direction: F32) -> float:
    """Inner product of the gradient and a direction; the error falls by twice this for a short step."""
    rows, bases = found.columns, found.bases
    total = np.einsum("nk,nk->", rows[:, POSITION : POSITION + 3], direction[:, :3], dtype=np.float64)
    total += np.einsum("nk,nk->", rows[:, SHAPE : SHAPE + 7], direction[:, 3:10], dtype=np.float64)
    total += np.einsum("nk,nk->", rows[:, COLOUR : COLOUR + 3 * bases], direction[:, 10:], dtype=np.float64)
    return float(total)


def _moved(cloud: Ellipsoids, direction: F32, length: float, kernels: Any) -> Ellipsoids:
    parts = [np.array(part) for part in (cloud.means, cloud.factors, cloud.opacities, cloud.sh)]
    kernels.take_step(*parts, direction, length)
    return Ellipsoids(*parts)


def _direction(found: NormalEquations, settings: RefitSettings, kernels: Any) -> F32:
    rows = found.columns
    overlap = np.clip(rows[:, kernels.WEIGHT] / np.maximum(rows[:, kernels.WEIGHT_SQUARED], 1e-20), 1.0, kernels.MAX_OVERLAP)
    damping = settings.damping * _median(rows[:, kernels.SHAPE_CURVATURE] * overlap)
    colour_damping = 0.1 * kernels.SH_C0_SQUARED * _median(rows[:, kernels.WEIGHT])
    ridges = np.full(found.bases, settings.ridge[1])
    ridges[0] = settings.ridge[0]
    direction = np.empty((len(rows), kernels.UNKNOWNS + 3 * found.bases), np.float32)
    kernels.solve_blocks(rows, found.bases, damping, colour_damping, ridges, direction)
    if not settings.geometry:
        direction[:, :3] = 0
        direction[:, 4 : kernels.UNKNOWNS] = 0
    return direction


def _median(values: F32) -> float:
    """Of those that are not zero; never 0."""
    seen = values[values > 0]
    return max(float(np.median(seen)), 1e-20) if len(seen) else 1e-20


def _kernels() -> Any:
    try:
        from . import refit_kernels
    except ImportError as error:
        raise MissingDependencyError("numba", "re-fitting Gaussians") from error
    return refit_kernels
