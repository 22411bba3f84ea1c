# SPDX-License-Identifier: GPL-3.0-or-later
"""compress() and decompress(): the one place that orders the stages.

score -> prune and amplify (the paper's chain, method "exgs"), or merge (ours, method "merge") -> quantise -> code -> .exgs
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..errors import ExgsError, FileError
from ..progress import Report, silent
from ..splats import BlendStatistics, Gaussians
from .amplify import DEFAULT_STRENGTH, RenderError, amplify, local_loss, search_growth
from .bitstream import HINT, decode_gaussians, encode_cloud
from .merge import MergeState, gaussians_of, reduce_to, start_merging
from .prune import voxel_sample
from .quantise import LEVELS, NEAR_LOSSLESS, Quantised, Steps, dequantise, quantise
from .score import check_count, paper_score

Method = Literal["merge", "exgs"]
SHOT = "shot"

LEVEL_FROM_RATIO = (400.0, 30.0, 8.0)
"""Ratios from which on the levels of the same index are tried first."""
FIRST_BYTES_PER_GAUSSIAN = (7.0, 9.0, 14.0, 28.0)
"""Per level, a little low: the first trial should keep too many, since merging can go on but not back."""
MAX_UNDERSHOOT, AIM = 0.03, 0.99
MAX_TRIALS = 12
MAX_STRENGTH = 1.0
MAX_MERGED_GROWTH, MERGED_EVALUATIONS = 0.25, 6


@dataclass(frozen=True)
class CompressSettings:
    """What to reach and how.

    Attributes:
        ratio: wanted ``Gaussians.ply_bytes`` over the file's bytes; the file is never larger, and at most 3 % smaller where
            the cloud allows it.
        method: "merge" (ours, the default) or "exgs" (the paper's voxel sampling and amplification).
        steps: rounding; None lets the ratio choose.
        source_name: what the file says that it was made from.
        views: what the file says of the views that were scored: "shot" where they were all of a camera path, so that none of them
            may judge the result; "file" or "generated" otherwise.

    Raises:
        ExgsError: the ratio or the method cannot be.
    """

    ratio: float = 100.0
    method: Method = "merge"
    steps: Steps | None = None
    source_name: str = ""
    views: str = ""

    def __post_init__(self) -> None:
        if not 1.0 <= self.ratio < 1e6:
            raise ExgsError(f"ratio is {self.ratio}, expected a number from 1 to a million")
        if self.method not in ("merge", "exgs"):
            raise ExgsError(f"method is '{self.method}', expected 'merge' or 'exgs'")


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


@dataclass
class _Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, stage: str, work: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = work(*args)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
        return result


def compress(
    gaussians: Gaussians,
    statistics: BlendStatistics,
    settings: CompressSettings,
    *,
    render_error: RenderError | None = None,
    report: Report = silent,
) -> CompressResult:
    """Compress a cloud to the wanted ratio.

    Args:
        statistics: of the views that matter, from ``render.contribution``.
        render_error: measures a candidate on the scored views; the amplification is searched with it. Without it method "exgs"
            takes a default strength and method "merge" does not amplify.
        report: progress; a cancel is its exception.

    Raises:
        ExgsError: the statistics are of another cloud, or the cloud is too small for the ratio.
        MissingDependencyError: method "merge" needs numba.
    """
    check_count(statistics, len(gaussians))
    clock, budget = _Clock(), int(gaussians.ply_bytes / settings.ratio)
    source: _Source = (_Merging if settings.method == "merge" else _Sampling)(gaussians, statistics, render_error, clock, report)
    levels = [settings.steps] if settings.steps else list(LEVELS[_first_level(settings.ratio) :])
    guess = FIRST_BYTES_PER_GAUSSIAN[_first_level(settings.ratio)]
    coded: tuple[Quantised, bytes, dict[str, int]] | None = None
    for steps in levels:
        trial = _hit_budget(source, steps, budget, guess, settings, clock, report)
        if trial is None:
            break  # finer steps than these no longer fit all that there is
        coded = trial
        if len(coded[1]) >= budget * (1 - MAX_UNDERSHOOT) or len(coded[0]) < source.available:
            break
        guess = 0.95 * len(coded[1]) / max(len(coded[0]), 1)
    if coded is None:
        raise ExgsError(f"{len(gaussians)} Gaussians are too few for a ratio of {settings.ratio:g} ({budget} bytes); ask for a lower ratio")
    quantised, data, sections = coded
    return CompressResult(
        data=data,
        gaussians=clock.run("decode", dequantise, quantised),
        kept=len(quantised),
        source_count=len(gaussians),
        ratio=gaussians.ply_bytes / len(data),
        sections=sections,
        seconds=clock.seconds,
    )


def decompress(data: bytes, name: str = "<bytes>", *, partial: bool = False) -> Asset:
    """Decode an .exgs file; numpy and the standard library are enough.

    Args:
        partial: decode the layers that are there of a file that is still on its way, the most significant Gaussians first.

    Raises:
        FileError: not an .exgs file, of an unknown version, truncated or damaged; names the section.
    """
    gaussians, metadata = decode_gaussians(data, name, partial=partial)
    bad = gaussians.nonfinite_field()
    if bad:
        raise FileError(name, f"decodes to a value in '{bad[0]}' that is not finite (Gaussian {bad[1]})", HINT)
    return Asset(gaussians, metadata)


def encode_all(gaussians: Gaussians, steps: Steps = NEAR_LOSSLESS, source_name: str = "") -> bytes:
    """All Gaussians as an .exgs file, rounded by ``steps`` and otherwise untouched."""
    settings = CompressSettings(ratio=1.0, steps=steps, source_name=source_name)
    return encode_cloud(quantise(gaussians, steps), _metadata(len(gaussians), len(gaussians), settings, "none", {}))[0]


def _first_level(ratio: float) -> int:
    return next((i for i, start in enumerate(LEVEL_FROM_RATIO) if ratio >= start), len(LEVEL_FROM_RATIO))


def _hit_budget(
    source: _Source, steps: Steps, budget: int, guess: float, settings: CompressSettings, clock: _Clock, report: Report
) -> tuple[Quantised, bytes, dict[str, int]] | None:
    """The fullest file of at most ``budget`` bytes with these steps that a few trials find; None where none fits."""
    count = min(int(budget / guess), source.available)
    best: tuple[Quantised, bytes, dict[str, int]] | None = None
    smallest_too_big = source.available + 1
    for trial in range(MAX_TRIALS):
        if count < 1 or (best is not None and count <= len(best[0])):
            break
        report("code", trial / MAX_TRIALS)
        cloud = source.reduced_to(count)
        quantised = clock.run("quantise", quantise, cloud, steps)
        metadata = _metadata(source.total, len(cloud), settings, settings.method, source.notes())
        data, sections = clock.run("code", encode_cloud, quantised, metadata)
        if len(data) <= budget:
            best = (quantised, data, sections)
            if len(data) >= budget * (1 - MAX_UNDERSHOOT) or len(cloud) == source.available:
                break
        else:
            smallest_too_big = min(smallest_too_big, len(cloud))
        count = min(_next_count(len(cloud), len(data), budget), smallest_too_big - 1, source.available)
    report("code", 1.0)
    return best


def _next_count(count: int, size: int, budget: int) -> int:
    """A count whose file should be just below the budget, given one trial; about 1,200 bytes do not depend on the count."""
    fixed = min(1200, size // 2)
    return max(int(count * (AIM * budget - fixed) / max(size - fixed, 1)), count // 4)


def _metadata(source_count: int, kept: int, settings: CompressSettings, method: str, notes: dict[str, Any]) -> dict[str, Any]:
    return {
        "source_name": settings.source_name,
        "source_count": source_count,
        "kept": kept,
        "keep_ratio": kept / source_count if source_count else 1.0,
        "method": method,
        "ratio_wanted": settings.ratio,
        "views": settings.views,
        **notes,
    }


class _Merging:
    """Clouds with fewer and fewer Gaussians, by merging. Going back up starts again from the source.

    Merging conserves what pruning loses, so amplification pays only at the extreme end: its strength is searched where there
    is a renderer, and 0 otherwise.
    """

    def __init__(self, gaussians: Gaussians, statistics: BlendStatistics, error: RenderError | None, clock: _Clock, report: Report) -> None:
        self.total, self._error, self._clock, self._report = len(gaussians), error, clock, report
        self._start: MergeState = clock.run("merge", start_merging, gaussians, statistics)
        self._latest = self._start
        self._growth: float | None = None if error else 0.0
        self.available = len(self._start)

    def reduced_to(self, count: int) -> Gaussians:
        state = self._latest if count <= len(self._latest) else self._start
        self._latest = self._clock.run("merge", reduce_to, state, count, self._report)
        cloud: Gaussians = self._clock.run("merge", gaussians_of, self._latest)
        if self._growth is None:
            self._growth = self._clock.run("amplify", self._search, cloud) if count < self.available else 0.0
        return amplify(cloud, self._growth) if self._growth else cloud

    def _search(self, cloud: Gaussians) -> float:
        error = self._error
        assert error is not None
        return search_growth(lambda growth: error(amplify(cloud, growth)), MAX_MERGED_GROWTH, MERGED_EVALUATIONS, self._report)[0]

    def notes(self) -> dict[str, Any]:
        return {"amplification": self._growth}


class _Sampling:
    """The paper's chain: voxel sampling by score, then amplification whose strength is searched once."""

    def __init__(self, gaussians: Gaussians, statistics: BlendStatistics, error: RenderError | None, clock: _Clock, report: Report) -> None:
        self._gaussians, self._statistics, self._error = gaussians, statistics, error
        self._clock, self._report = clock, report
        self._score = clock.run("score", paper_score, statistics, gaussians.opacities)
        self._strength: float | None = None
        self.total = self.available = len(gaussians)

    def reduced_to(self, count: int) -> Gaussians:
        means = self._gaussians.means
        kept = self._clock.run("sample", voxel_sample, means, self._score, count)
        survivors = self._gaussians.select(kept)
        loss = self._clock.run("amplify", local_loss, means, self._statistics.weight_sum, kept)
        if self._strength is None:
            self._strength = self._clock.run("amplify", self._search, survivors, loss)
        return amplify(survivors, self._strength * loss)

    def _search(self, survivors: Gaussians, loss: np.ndarray[Any, np.dtype[np.float32]]) -> float:
        error = self._error
        if error is None:
            return DEFAULT_STRENGTH
        return search_growth(lambda strength: error(amplify(survivors, strength * loss)), MAX_STRENGTH, report=self._report)[0]

    def notes(self) -> dict[str, Any]:
        return {"amplification": self._strength}


_Source = _Merging | _Sampling
