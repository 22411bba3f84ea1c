# SPDX-License-Identifier: GPL-3.0-or-later
"""compress() and decompress(): the one place that orders the stages.

score -> merge -> re-fit -> quantise -> re-fit what is not geometry -> code -> .exgs  (method "merge", ours)
score -> sample -> amplify -> quantise -> code -> .exgs                               (method "exgs", the paper's chain)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..errors import ExgsError
from ..progress import Report, silent
from ..splats import BlendStatistics, Gaussians
from ..splats.activation import logit_from_opacity
from ..splats.ellipsoids import ellipsoids_of, gaussians_from
from .bitstream import decode_gaussians, encode_cloud, with_notes
from .clock import Clock
from .dequantise import dequantise
from .guidance import NOTE, Guidance
from .quantise import NEAR_LOSSLESS, Steps, quantise
from .rate import Coded, coded_with, fill_budget, recoded, thinned_to
from .refit import Fit, RefitSettings, refit
from .score import check_count
from .settings import SHOT, CompressSettings, Method
from .thinning import Merging, Sampling, Thinned, Thinning

__all__ = ["SHOT", "Asset", "CompressResult", "CompressSettings", "Method", "Views", "compress", "decompress", "encode_all"]

LAST_ROUNDS = 2
"""Rounds for opacity and colour after the geometry is rounded."""
MOST_REFITTED = 4_000_000
"""The equations of a Gaussian take 1 KB; a larger cloud is left as merging made it."""
QUALITY_TRIALS = 6
QUALITY_TOLERANCE = 0.25
"""dB"""
STEEPNESS = 9.0
"""dB that ten times the bytes bring, to begin with; the trials correct it."""
MAX_STRIDE = 0.7
RATIOS = (2.0, 50_000.0)


class Views(Fit, Protocol):
    """The scored views, as compression asks them."""

    def error(self, gaussians: Gaussians) -> float:
        """Mean squared error of a candidate over a few of the scored views."""

    def errors_aside(self, gaussians: Gaussians) -> tuple[float, ...]:
        """Mean squared error in each view that was set aside: neither scored or fitted, nor one of those that judge in the end."""


@dataclass(frozen=True, eq=False)
class CompressResult:
    """A compressed cloud.

    Attributes:
        data: the .exgs file.
        gaussians: what a reader of the file gets.
        kept: number of Gaussians in the file.
        source_count: number before.
        ratio: what was reached.
        sections: bytes of each section of the file.
        seconds: wall time of each stage.
    """

    data: bytes
    gaussians: Gaussians
    kept: int
    source_count: int
    ratio: float
    sections: dict[str, int]
    seconds: dict[str, float]

    def guided(self, guidance: Guidance) -> CompressResult:
        """The same with what the painter is to know in the file."""
        data = with_notes(self.data, {NOTE: guidance.note()})
        grown = len(data) - len(self.data)
        sections = self.sections | {"meta": self.sections["meta"] + grown}
        return replace(self, data=data, sections=sections, ratio=self.ratio * len(self.data) / len(data))


@dataclass(frozen=True, eq=False)
class Asset:
    """A decoded .exgs file: the cloud, and what the file says about how it was made (see docs/exgs-format.md)."""

    gaussians: Gaussians
    metadata: dict[str, Any]

    @property
    def keep_ratio(self) -> float:
        """Gaussians in the file over Gaussians in the source, 0..1: the painter's guide to how much to repair."""
        try:
            ratio = float(self.metadata.get("keep_ratio", 1.0))
        except (TypeError, ValueError):
            return 1.0
        return ratio if 0.0 < ratio <= 1.0 else 1.0

    @property
    def guidance(self) -> str:
        """What the file tells the painter, see ``Guidance``."""
        return Guidance.from_note(self.metadata.get(NOTE, {"refitted": self.metadata.get("method") == "merge"})).text()


def compress(
    gaussians: Gaussians,
    statistics: BlendStatistics,
    settings: CompressSettings,
    *,
    views: Views | None = None,
    report: Report = silent,
) -> CompressResult:
    """Compress a cloud to the wanted ratio, or to the wanted PSNR.

    Args:
        statistics: of the views that matter, from ``render.contribution``.
        views: those views, to fit and to measure on. Without them method "merge" does not re-fit, method "exgs" takes a default
            amplification, and a PSNR cannot be asked for.
        report: progress; a cancel is its exception.

    Raises:
        ExgsError: the statistics are of another cloud, or the cloud is too small for the ratio.
        MissingDependencyError: method "merge" needs numba.
    """
    check_count(statistics, len(gaussians))
    clock = Clock()
    if settings.keep_all:
        return _result(_whole(gaussians, statistics, settings, clock), gaussians, clock)
    source: Thinning
    if settings.method == "merge":
        source = clock.run("merge", Merging, gaussians, statistics)
    else:
        source = clock.run("sample", Sampling, gaussians, statistics, views.error if views else None)
    if settings.psnr is None:
        coded = _at_ratio(source, gaussians.ply_bytes, settings, views, clock, report)
    else:
        if views is None:
            raise ExgsError("a PSNR can only be reached with views to measure it on")
        coded = _at_quality(source, gaussians.ply_bytes, settings, views, clock, report)
    return _result(coded, gaussians, clock)


def _result(coded: Coded, source: Gaussians, clock: Clock) -> CompressResult:
    return CompressResult(
        data=coded.data,
        gaussians=clock.run("decode", dequantise, coded.quantised),
        kept=len(coded.quantised),
        source_count=len(source),
        ratio=source.ply_bytes / len(coded.data),
        sections=coded.sections,
        seconds=clock.seconds,
    )


def _whole(gaussians: Gaussians, statistics: BlendStatistics, settings: CompressSettings, clock: Clock) -> Coded:
    """All Gaussians, rounded only."""
    weight = np.maximum(statistics.weight_sum, 1e-12)
    return coded_with(
        Thinned(gaussians, weight), settings.steps or NEAR_LOSSLESS, lambda kept: _metadata(kept, kept, settings, "none", {}), clock
    )


def decompress(data: bytes, name: str = "<bytes>", *, partial: bool = False) -> Asset:
    """Decode an .exgs file; numpy and the standard library are enough.

    Args:
        partial: decode the layers that are there of a file that is still on its way, the most significant Gaussians first.

    Raises:
        FileError: not an .exgs file, of an unknown version, truncated or damaged; names the section.
    """
    gaussians, metadata = decode_gaussians(data, name, partial=partial)
    return Asset(gaussians, metadata)


def encode_all(gaussians: Gaussians, steps: Steps = NEAR_LOSSLESS, source_name: str = "") -> bytes:
    """All Gaussians as an .exgs file, rounded by ``steps`` and otherwise untouched."""
    settings = CompressSettings(ratio=1.0, source_name=source_name)
    return encode_cloud(quantise(gaussians, steps), _metadata(len(gaussians), len(gaussians), settings, "none", {}))[0]


def _at_ratio(source: Thinning, source_bytes: int, settings: CompressSettings, views: Views | None, clock: Clock, report: Report) -> Coded:
    """The stages from a number of Gaussians to bytes that fill the budget."""
    budget = int(source_bytes / settings.ratio) - settings.reserve

    def notes(kept: int) -> dict[str, Any]:
        return _metadata(source.total, kept, settings, settings.method, source.notes())

    steps = settings.rounding
    thinned = thinned_to(source, steps, budget, notes, clock, report)
    fitted = views is not None and settings.method == "merge" and settings.rounds > 0
    if fitted and len(thinned.gaussians) <= MOST_REFITTED:
        assert views is not None
        thinned = replace(thinned, gaussians=clock.run("refit", _refitted, thinned.gaussians, views, settings.rounds, report))
        coded = fill_budget(thinned, steps, budget, notes, clock, report)
        look = clock.run("refit", _look_refitted, dequantise(coded.quantised), views, settings.rounds, report)
        coded = recoded(coded, look, budget, notes, clock)
    else:
        coded = fill_budget(thinned, steps, budget, notes, clock, report)
    if len(coded.data) > budget:
        raise ExgsError(f"{source.total} Gaussians are too few for a ratio of {settings.ratio:g} ({budget} bytes); ask for a lower ratio")
    return coded


def _at_quality(source: Thinning, source_bytes: int, settings: CompressSettings, views: Views, clock: Clock, report: Report) -> Coded:
    """The smallest file found whose quality is the wanted one: a secant search over the logarithm of the ratio."""
    wanted = settings.psnr
    assert wanted is not None
    tried: dict[float, tuple[float, Coded]] = {}
    at: float | None = float(np.log10(settings.ratio))
    while at is not None and len(tried) < QUALITY_TRIALS:
        coded = _at_ratio(source, source_bytes, replace(settings, ratio=10**at), views, clock, report)
        tried[at] = _mean_psnr(clock.run("measure", views.errors_aside, dequantise(coded.quantised))) - wanted, coded
        if abs(tried[at][0]) <= QUALITY_TOLERANCE:
            break
        at = _next_ratio({ratio: excess for ratio, (excess, _) in tried.items()})
    return min(tried.values(), key=lambda found: abs(found[0]))[1]


def _next_ratio(tried: dict[float, float]) -> float | None:
    """Where to look next: between the two that enclose the wanted quality, else further on; None at the end of what can be.

    ``tried``: logarithm of the ratio -> how much better than wanted, dB.
    """
    better, worse = [x for x, excess in tried.items() if excess >= 0], [x for x, excess in tried.items() if excess < 0]
    if better and worse:
        low, high = max(better), min(worse)
        if low >= high:  # noise: more bytes were worse
            low, high = min(low, high), max(low, high)
        share = tried[low] / (tried[low] - tried[high]) if tried[low] > tried[high] else 0.5
        following = low + float(np.clip(share, 0.1, 0.9)) * (high - low)
    else:
        nearest = min(tried, key=lambda x: abs(tried[x]))
        following = nearest + float(np.clip(tried[nearest] / STEEPNESS, -MAX_STRIDE, MAX_STRIDE))
    following = float(np.clip(following, *np.log10(RATIOS)))
    return None if any(abs(following - x) < 0.01 for x in tried) else following


def _mean_psnr(errors: tuple[float, ...]) -> float:
    """dB for a peak of 1."""
    return float(np.mean(-10.0 * np.log10(np.maximum(errors, 1e-10))))


def _refitted(gaussians: Gaussians, views: Views, rounds: int, report: Report) -> Gaussians:
    return gaussians_from(refit(ellipsoids_of(gaussians), views, RefitSettings(rounds), report))


def _look_refitted(rounded: Gaussians, views: Views, turn: int, report: Report) -> Gaussians:
    """Opacity and colour once more, now that positions and shapes are what a reader of the file gets."""
    settings = RefitSettings(LAST_ROUNDS, geometry=False, first_turn=turn)
    look = refit(ellipsoids_of(rounded), views, settings, report)
    return replace(rounded, opacities=logit_from_opacity(look.opacities), sh0=look.sh[:, :1], shN=look.sh[:, 1:])


def _metadata(source_count: int, kept: int, settings: CompressSettings, method: str, notes: dict[str, Any]) -> dict[str, Any]:
    return {
        "source_name": settings.source_name,
        "source_count": source_count,
        "kept": kept,
        "keep_ratio": kept / source_count if source_count else 1.0,
        "method": method,
        "views": settings.views,
        **({} if settings.up == "-y" else {"up": settings.up}),
        "ratio_wanted": settings.ratio,
        **({} if settings.psnr is None else {"psnr_wanted": settings.psnr}),
        **notes,
    }
