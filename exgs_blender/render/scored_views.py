# SPDX-License-Identifier: GPL-3.0-or-later
"""The scored views: rendered once from the source, then asked again and again how a candidate compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..cameras import Cameras, concatenate
from ..progress import Report, silent, track
from ..splats import BlendStatistics, Gaussians, NormalEquations
from ..splats.ellipsoids import Ellipsoids
from ..splats.gaussians import F32
from .contribution import blend_statistics
from .prepared import prepare
from .rasterize import rasterize_all
from .residuals import Target, normal_equations, residual_errors, target_of

VIEWS_PER_ROUND = 28
"""A round of the re-fit looks at about so many views; where there are more, they take turns."""
MEASURED_EVERY = 4
"""A candidate's error is measured on every fourth view: more would not change what is chosen and cost time."""


@dataclass(frozen=True, eq=False)
class ViewSet:
    """Views that matter alike: cameras, what the source looks like from them, and how much a view's errors count."""

    cameras: Cameras
    targets: tuple[Target, ...]
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class ScoredViews:
    """What compression knows of the source's looks; fulfils ``ugc.pipeline.Views``.

    Attributes:
        sets: the scored views.
        statistics: the blend statistics of them all, each set's in proportion to its weight.
        aside: views that measure quality for a wanted PSNR, with their targets; may be None.
    """

    sets: tuple[ViewSet, ...]
    statistics: BlendStatistics
    aside: ViewSet | None = None

    @property
    def count(self) -> int:
        """Number of scored views."""
        return sum(len(views.cameras) for views in self.sets)

    @property
    def cameras(self) -> Cameras:
        """All scored views, set after set."""
        return concatenate([views.cameras for views in self.sets])

    def equations(self, cloud: Ellipsoids, turn: int, report: Report = silent) -> NormalEquations:
        """See ``ugc.refit.Fit``."""
        found = []
        for views in self.sets:
            part = self._turn(views, turn)
            targets = track([views.targets[i] for i in part], "refit", report)
            equations = normal_equations(cloud, views.cameras.select(part), targets)
            found.append(_weighted(equations, views.weight))
        return _added(found)

    def errors(self, cloud: Ellipsoids, turn: int, every: int) -> tuple[float, ...]:
        """See ``ugc.refit.Fit``."""
        errors: list[float] = []
        first = 0
        for views in self.sets:
            part = self._turn(views, turn)
            picked = part[-first % every :: every]
            first += len(part)
            found = residual_errors(cloud, views.cameras.select(picked), [views.targets[i] for i in picked])
            errors += [views.weight * error for error in found]
        return tuple(errors)

    def error(self, gaussians: Gaussians) -> float:
        """Mean squared error of a candidate over every fourth view."""
        every = [
            replace(v, cameras=v.cameras.select(slice(0, None, MEASURED_EVERY)), targets=v.targets[::MEASURED_EVERY]) for v in self.sets
        ]
        return float(np.average([_mse(gaussians, v) for v in every], weights=[v.weight * len(v.cameras) for v in every]))

    def errors_aside(self, gaussians: Gaussians) -> tuple[float, ...]:
        """Mean squared error of a candidate in each view that was set aside."""
        assert self.aside is not None
        return tuple(_errors(gaussians, self.aside))

    def _turn(self, views: ViewSet, turn: int) -> list[int]:
        parts = max(1, round(self.count / VIEWS_PER_ROUND))
        return list(range(turn % parts, len(views.cameras), parts))


def score_views(
    gaussians: Gaussians, sets: Sequence[tuple[Cameras, float]], aside: Cameras | None = None, report: Report = silent
) -> ScoredViews:
    """Render the source from all views that matter, once.

    Args:
        sets: cameras, and what share of the attention they get. Shares are of the sets, however many views each has.
        aside: views to measure a wanted PSNR on.
    """
    prepared = prepare(gaussians)
    total_share, total_views = sum(share for _, share in sets), sum(len(cameras) for cameras, _ in sets)
    found: list[ViewSet] = []
    statistics: list[BlendStatistics] = []
    for cameras, share in sets:
        weight = share / total_share * total_views / max(len(cameras), 1)
        targets: list[Target] = []

        def keep(_: int, rgb: F32, alpha: F32, targets: list[Target] = targets) -> None:
            targets.append(target_of(rgb, alpha))

        statistics.append(_scaled(blend_statistics(prepared, cameras, frames=keep, report=report), weight))
        found.append(ViewSet(cameras, tuple(targets), weight))
    apart = None
    if aside is not None:
        apart = ViewSet(aside, tuple(target_of(f.rgb, f.alpha) for f in rasterize_all(prepared, aside, backend="cpu")))
    return ScoredViews(tuple(found), _summed(statistics), apart)


def _errors(gaussians: Gaussians, views: ViewSet) -> list[float]:
    """Mean squared error of each view, as images are judged: over black, clipped to 0..1."""
    frames = rasterize_all(gaussians, views.cameras, backend="cpu")
    return [
        float(np.square(np.clip(frame.rgb, 0, 1) - target.rgba[..., :3], dtype=np.float64).mean())
        for frame, target in zip(frames, views.targets, strict=True)
    ]


def _mse(gaussians: Gaussians, views: ViewSet) -> float:
    return float(np.mean(_errors(gaussians, views)))


def _weighted(found: NormalEquations, weight: float) -> NormalEquations:
    if weight == 1.0:
        return found
    errors = tuple(weight * error for error in found.errors)
    return replace(found, columns=found.columns * np.float32(weight), errors=errors, squared_error=weight * found.squared_error)


def _added(found: Sequence[NormalEquations]) -> NormalEquations:
    if len(found) == 1:
        return found[0]
    return replace(
        found[0],
        columns=np.sum([f.columns for f in found], axis=0),
        errors=tuple(error for f in found for error in f.errors),
        squared_error=sum(f.squared_error for f in found),
        values=sum(f.values for f in found),
    )


def _scaled(statistics: BlendStatistics, weight: float) -> BlendStatistics:
    """Sums count ``weight`` times; the largest weight of a pixel stays what it is, unless the views count for nothing."""
    if weight == 1.0:
        return statistics
    factor = np.float32(weight)
    return replace(
        statistics,
        weight_sum=statistics.weight_sum * factor,
        weight_max=statistics.weight_max * np.float32(weight > 0),
        hits=statistics.hits * factor,
        transmittance_sum=statistics.transmittance_sum * factor,
        weight_transmittance_sum=statistics.weight_transmittance_sum * factor,
        blur_sum=statistics.blur_sum * factor,
    )


def _summed(parts: Sequence[BlendStatistics]) -> BlendStatistics:
    total = parts[0]
    for part in parts[1:]:
        total = BlendStatistics(
            pixels=total.pixels + part.pixels,
            weight_sum=total.weight_sum + part.weight_sum,
            weight_max=np.maximum(total.weight_max, part.weight_max),
            hits=total.hits + part.hits,
            transmittance_sum=total.transmittance_sum + part.transmittance_sum,
            weight_transmittance_sum=total.weight_transmittance_sum + part.weight_transmittance_sum,
            blur_sum=total.blur_sum + part.blur_sum,
        )
    return total
