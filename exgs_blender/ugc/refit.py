# SPDX-License-Identifier: GPL-3.0-or-later
"""Re-fit: the survivors settle into what the source looks like from the scored views. Ours, not the paper's.

A handful of Gauss-Newton rounds on the rendered residuals: each Gaussian solves its own few equations, damped towards
what it is, and all take the step together, with some of the last step's momentum. No learning rates, no training run; the number of
rounds is small and fixed, and none of the views that judge takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import MissingDependencyError
from ..progress import Report, silent
from ..splats import NormalEquations
from ..splats.ellipsoids import Ellipsoids
from ..splats.gaussians import F32

Equations = Callable[[Ellipsoids, int], NormalEquations]
"""The equations of a cloud on the scored views, or on the part of them that is round ``i``'s turn."""


@dataclass(frozen=True)
class RefitSettings:
    """How far the re-fit goes.

    Attributes:
        rounds: Gauss-Newton steps.
        damping: of positions, shapes and opacities, relative to the median curvature of the cloud.
        ridge: of the SH coefficients of degree 0, and of those above, relative to each Gaussian's own weight.
        momentum: share of the last step that is taken again.
        shortening: round i takes a step of 1 / (1 + shortening * i).
        geometry: whether positions and shapes may move; without it only opacity and colour do.
    """

    rounds: int = 6
    damping: float = 0.1
    ridge: tuple[float, float] = (0.02, 0.5)
    momentum: float = 0.4
    shortening: float = 0.1
    geometry: bool = True


def refit(cloud: Ellipsoids, equations: Equations, settings: RefitSettings | None = None, report: Report = silent) -> Ellipsoids:
    """The cloud after a few rounds.

    Args:
        equations: of the candidate on the scored views; a round's turn may be a part of the views, always the same part for the
            same ``i`` modulo some number, so that progress can be told from chance.

    Raises:
        MissingDependencyError: numba is not in this Python.
    """
    kernels = _kernels()
    settings = settings or RefitSettings()
    means, factors, opacities, sh = (np.array(part) for part in (cloud.means, cloud.factors, cloud.opacities, cloud.sh))
    last: F32 | None = None
    for turn in range(settings.rounds):
        report("refit", turn / settings.rounds)
        found = equations(Ellipsoids(means, factors, opacities, sh), turn)
        direction = _direction(found, settings, kernels)
        if last is not None:
            direction += np.float32(settings.momentum) * last
        kernels.take_step(means, factors, opacities, sh, direction, 1.0 / (1.0 + settings.shortening * turn))
        last = direction
    report("refit", 1.0)
    return Ellipsoids(means, factors, opacities, sh)


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
