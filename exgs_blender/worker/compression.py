# SPDX-License-Identifier: GPL-3.0-or-later
"""The compress job: capture in; asset and quality report out."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_path
from ..cameras import Cameras, read_cameras
from ..cameras.trajectories import Up, up_vector
from ..errors import ExgsError, FileError, MissingDependencyError
from ..formats import read
from ..progress import Report, silent, under
from ..splats import Gaussians

if TYPE_CHECKING:
    from ..painter.restore import Painter
    from ..render.scored_views import ScoredViews
    from ..ugc.guidance import Guidance
    from ..ugc.pipeline import CompressResult, CompressSettings

DEFAULT_RATIO = 100.0
PRESETS = {"near-lossless": 0.0, "balanced": DEFAULT_RATIO, "extreme": 1000.0}
"""Name -> ratio; 0 keeps every Gaussian and rounds it finely."""
NOTES_RESERVE = 320
"""Bytes that a fitted restoration takes in a file, with some to spare."""
LEAST_FITTED = 20 * NOTES_RESERVE
"""A smaller file keeps its bytes for Gaussians."""


def compress(
    source: str,
    target: str,
    ratio: float = 0.0,
    cameras: str = "",
    method: str = "merge",
    views: int = 0,
    hold_out: bool = True,
    page: str = "",
    size: int = 0,
    psnr: float = 0.0,
    preset: str = "",
    everywhere: float = 0.0,
    judges: str = "",
    restoration: bool = True,
    up: Up = "-y",
    report: Report = silent,
) -> dict[str, Any]:
    """UGC: score over views, merge, re-fit, quantise, code. Returns sizes, ratio and seconds by stage.

    At most one of ``ratio``, ``size``, ``psnr`` and ``preset`` says what to reach; a ratio of 100 by default.

    Args:
        ratio: times smaller than the capture's PLY.
        cameras: file with the views that matter (a capture's own, or a shot); generated ones without it.
        method: "merge" (ours) or "exgs" (the paper's chain).
        views: how many views to score, evenly picked; 0 takes up to 96 of a file, or 24 generated ones.
        hold_out: leave every eighth camera of the file for ``eval``; False where every one must look good (a shot).
        page: where the quality report goes (a JSON file of its numbers beside it): "beside" for TARGET.report.html, empty for none.
            With it the result has ``headline``, ``warnings``, ``psnr``, ``worst_psnr``, ``ssim``, ``flip``, ``report``, ``report_json``.
        size: bytes of the file.
        psnr: dB on views that are set aside for this.
        preset: one of PRESETS.
        everywhere: share of the attention, 0..1, for views from all around beside those of the file.
        judges: camera file with the views that judge; cameras of the same names are left out of scoring.
        up: the world's up direction in the capture's own axes, for views that are generated.
        restoration: fit GaussPainter's restoration to the scene and note it in the file, where torch is at hand.

    Raises:
        ExgsError: two targets at once, or one that cannot be.
    """
    from ..ugc.pipeline import compress as encode
    from .reporting import measure_compressed, report_path, without, write_quality

    _require_exgs(target)
    up_vector(up)
    if not 0.0 <= everywhere <= 1.0:
        raise ExgsError(f"everywhere is {everywhere:g}, expected 0 to 1")
    goal = _Goal.of(ratio, size, psnr, preset)
    clock = time.perf_counter
    start = clock()
    gaussians = read(source, report=under("read", report))
    read_done = clock()
    given = without(read_cameras(cameras), judges) if cameras else None
    listed = read_cameras(judges) if judges else None
    wanted = _Wanted(given, views or None, hold_out, everywhere, bool(psnr), listed, up)
    scored = wanted.rendered(gaussians, under("score views", report))
    scored_done = clock()
    settings = goal.settings(gaussians, method, Path(source).name, given is not None, hold_out, up)
    roomy = settings.psnr is not None or gaussians.ply_bytes / settings.ratio >= LEAST_FITTED
    painter = _painter() if restoration and roomy and not settings.keep_all else None
    if painter is not None and settings.psnr is None:
        settings = replace(settings, reserve=NOTES_RESERVE)
    result: CompressResult = encode(gaussians, scored.statistics, settings, views=scored, report=report)
    seconds = {"read": read_done - start, "score": scored_done - read_done, **result.seconds}
    seen = scored.cameras
    if painter is not None:
        fit_start = clock()
        result = result.guided(_fitted(painter, gaussians, result.gaussians, scored, method, report))
        seconds["fit restoration"] = clock() - fit_start
    report_start = clock()
    quality = None
    if page:  # measured before anything is written, so that a cancelled job leaves nothing
        quality = measure_compressed(gaussians, result, source, target, seen, given, hold_out, listed, seconds, up, under("judge", report))
    with atomic_path(target) as part:
        part.write_bytes(result.data)
    told = {}
    if quality is not None:
        told = write_quality(quality, report_path(page, target))
        seconds["report"] = clock() - report_start
    return {
        "target": target,
        "count": len(gaussians),
        "kept": result.kept,
        "bytes": len(result.data),
        "source_bytes": gaussians.ply_bytes,
        "ratio": result.ratio,
        "sections": result.sections,
        "views": scored.count,
        **told,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "peak_bytes": _peak_bytes(),
    }


def _painter() -> Painter | None:
    """GaussPainter, where this Python has what it needs."""
    from ..painter.restore import Painter

    try:
        return Painter.load()
    except MissingDependencyError:
        return None


def _fitted(painter: Painter, source: Gaussians, compressed: Gaussians, scored: ScoredViews, method: str, report: Report) -> Guidance:
    from ..painter.scene_fit import fit_scene

    looks = [target.rgba for part in scored.sets for target in part.targets]
    return fit_scene(painter, source, compressed, scored.cameras, refitted=method == "merge", report=report, looks=looks).guidance


@dataclass(frozen=True)
class _Goal:
    """What to reach: one of the three."""

    ratio: float = 0.0
    size: int = 0
    psnr: float = 0.0
    keep_all: bool = False

    @classmethod
    def of(cls, ratio: float, size: int, psnr: float, preset: str) -> _Goal:
        named = {"ratio": ratio, "size": size, "psnr": psnr, "preset": preset}
        given = [name for name, value in named.items() if value]
        if len(given) > 1:
            raise ExgsError(f"{' and '.join(given)} are given, expected one of them: each says how small the file becomes")
        if preset:
            if preset not in PRESETS:
                raise ExgsError(f"preset is '{preset}', expected one of {', '.join(PRESETS)}")
            return cls(ratio=PRESETS[preset], keep_all=PRESETS[preset] == 0)
        if size < 0 or psnr < 0 or ratio < 0:
            raise ExgsError(f"{given[0]} is {named[given[0]]}, expected more than 0")
        return cls(ratio, size, psnr) if given else cls(DEFAULT_RATIO)

    def settings(self, gaussians: Gaussians, method: str, name: str, from_file: bool, hold_out: bool, up: Up) -> CompressSettings:
        from ..ugc.pipeline import SHOT, CompressSettings

        ratio = self.ratio or DEFAULT_RATIO
        if self.size:
            ratio = gaussians.ply_bytes / self.size
            if ratio < 1:
                raise ExgsError(
                    f"size is {self.size} bytes, but the capture's PLY has only {gaussians.ply_bytes}; use the near-lossless preset"
                )
        return CompressSettings(
            ratio,
            method,  # type: ignore[arg-type]
            psnr=self.psnr or None,
            keep_all=self.keep_all,
            source_name=name,
            views="generated" if not from_file else "file" if hold_out else SHOT,
            up=up if isinstance(up, str) else tuple(round(float(value), 6) for value in up),
        )


@dataclass(frozen=True)
class _Wanted:
    """Which views matter: the file's, those all around, or both in the wanted proportion."""

    given: Cameras | None
    count: int | None
    hold_out: bool
    everywhere: float
    set_aside: bool
    listed: Cameras | None
    up: Up

    def rendered(self, gaussians: Gaussians, report: Report) -> ScoredViews:
        from ..evaluate.held_out import aside_views, training_views
        from ..render.scored_views import score_views

        aside, given = None, self.given
        if self.set_aside:
            aside, given = aside_views(gaussians, given, self.up)
        around = training_views(gaussians, None, self.count, self.up) if given is None or self.everywhere > 0 else None
        sets = [] if around is None else [(around, self.everywhere if given is not None else 1.0)]
        if given is not None and self.everywhere < 1:
            sets.append((self._of_file(gaussians, given), 1.0 - self.everywhere))
        return score_views(gaussians, sets, aside, report)

    def _of_file(self, gaussians: Gaussians, given: Cameras) -> Cameras:
        from ..evaluate.held_out import FEWEST, filled_up, scoring_views, training_views

        if self.listed is not None:
            return filled_up(gaussians, scoring_views(given, self.count), self.listed, self.count or FEWEST)
        if self.hold_out and not self.set_aside:
            return training_views(gaussians, given, self.count)
        return scoring_views(given, self.count)  # a shot, or what setting aside has left


def _require_exgs(target: str) -> None:
    if not target.lower().endswith(".exgs"):
        raise FileError(target, "the compressed asset must end in .exgs", "For other formats use 'exgs convert'")


def _peak_bytes() -> int:
    """Largest resident memory of this process so far; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
