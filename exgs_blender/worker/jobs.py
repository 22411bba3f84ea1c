# SPDX-License-Identifier: GPL-3.0-or-later
"""Job name -> function. Each takes JSON values and a listener, returns JSON values, and writes its outputs atomically.

The command line calls the same functions in its own process. The heavy layers are imported inside, so that
``exgs info`` does not wait for numba.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..atomic import atomic_path
from ..cameras import read_cameras
from ..errors import FileError
from ..formats import read, write, writer_for
from ..formats.describe import stored_bytes
from ..progress import Report, silent
from ..splats import Gaussians

JobFunction = Callable[..., dict[str, Any]]

DEFAULT_METHOD = "merge"
MEASURED_EVERY = 4
"""Amplification is searched on every fourth scored view: more would not change it and cost time."""


def convert(
    source: str,
    target: str,
    sh_degree: int | None = None,
    level: int | None = None,
    spz_version: int | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Any readable file -> any writable one. Returns count, SH degree and bytes.

    Args:
        sh_degree: drop the bands above it; None keeps all, and a target that cannot hold them is refused.
        level: of a capture with levels of detail; None takes the finest.
        spz_version: 1 to 4, for a target in SPZ.
    """
    options = {} if spz_version is None else {"version": spz_version}
    writer_for(target, **options)  # complain before the long read
    gaussians = read(source, report=_stage("read", report), **({} if level is None else {"level": level}))
    if sh_degree is not None and sh_degree < gaussians.sh_degree:
        gaussians = gaussians.with_sh_degree(sh_degree)
    write(target, gaussians, report=_stage("write", report), **options)
    return {"target": target, "count": len(gaussians), "sh_degree": gaussians.sh_degree, "bytes": stored_bytes(target)}


def compress(
    source: str,
    target: str,
    ratio: float = 100.0,
    cameras: str = "",
    method: str = DEFAULT_METHOD,
    views: int = 0,
    hold_out: bool = True,
    page: str = "",
    report: Report = silent,
) -> dict[str, Any]:
    """UGC: score over views, sample, amplify, quantise, code. Returns sizes, ratio and seconds by stage.

    Args:
        cameras: file with the views that matter (a capture's own, or a shot); generated ones without it.
        method: "merge" (ours) or "exgs" (the paper's chain).
        views: how many views to score, evenly picked; 0 takes up to 96 of a file, or 24 generated ones.
        hold_out: leave every eighth camera of the file for ``eval``; False where every one must look good (a shot).
        page: where the quality report goes (a JSON file of its numbers beside it): "beside" for TARGET.report.html, empty for none.
            With it the result has ``headline``, ``warnings``, ``psnr``, ``worst_psnr``, ``ssim``, ``flip``, ``report``, ``report_json``.
    """
    from ..evaluate.compare import render_error_for
    from ..evaluate.held_out import scoring_views, training_views
    from ..render.contribution import blend_statistics
    from ..ugc.pipeline import SHOT, CompressSettings
    from ..ugc.pipeline import compress as encode
    from .reporting import measure_compressed, report_path, write_quality

    _require_exgs(target)
    clock = time.perf_counter
    start = clock()
    gaussians = _read_source(source, report)
    read_done = clock()
    given, count = read_cameras(cameras) if cameras else None, views or None
    scored = scoring_views(given, count) if given is not None and not hold_out else training_views(gaussians, given, count)
    statistics = blend_statistics(gaussians, scored, report=_stage("score views", report))
    scored_done = clock()
    kind = "generated" if given is None else "file" if hold_out else SHOT
    settings = CompressSettings(ratio=ratio, method=method, source_name=Path(source).name, views=kind)  # type: ignore[arg-type]
    measure = render_error_for(gaussians, scored.select(slice(0, None, MEASURED_EVERY)))
    result = encode(gaussians, statistics, settings, render_error=measure, report=report)
    seconds = {"read": read_done - start, "score": scored_done - read_done, **result.seconds}
    report_start = clock()
    quality = None
    if page:  # measured before anything is written, so that a cancelled job leaves nothing
        judging = _stage("judge", report)
        quality = measure_compressed(gaussians, result, source, target, scored, given, hold_out, seconds, judging)
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
        "ratio": gaussians.ply_bytes / len(result.data),
        "sections": result.sections,
        "views": len(scored),
        **told,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "peak_bytes": _peak_bytes(),
    }


def render(
    asset: str,
    cameras: str,
    output: str,
    format: str = "png",
    restore: bool = True,
    strength: float = 1.0,
    rasterize_mode: str = "classic",
    backend: str = "auto",
    overwrite: bool = False,
    long_side: int = 0,
    checkpoint: str = "",
    report: Report = silent,
) -> dict[str, Any]:
    """Cameras + asset -> a folder of frames. Returns their paths, seconds by stage, and which backend ran."""
    from ..sequence.render import SequenceSettings, render_sequence

    views = read_cameras(cameras)
    gaussians, keep_ratio = read_with_keep_ratio(asset, report)
    settings = SequenceSettings(
        format=format,  # type: ignore[arg-type]
        restore=restore,
        strength=strength,
        keep_ratio=keep_ratio,
        rasterize_mode=rasterize_mode,  # type: ignore[arg-type]
        backend=backend,  # type: ignore[arg-type]
        overwrite=overwrite,
        checkpoint=checkpoint,
    )
    result = render_sequence(gaussians, views.resized(long_side) if long_side else views, Path(output), settings, report)
    return {
        "output": output,
        "frames": [str(path) for path in result.frames],
        "rendered": result.rendered,
        "backend": result.backend,
        "keep_ratio": keep_ratio,
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
    }


def evaluate(
    original: str,
    candidate: str,
    cameras: str = "",
    views: int = 8,
    shot: bool = False,
    page: str = "",
    numbers: str = "",
    report: Report = silent,
) -> dict[str, Any]:
    """Compare an asset with its capture on views that were not scored. Returns PSNR, SSIM and FLIP per view, sizes, a headline.

    Args:
        cameras: camera file whose every eighth view judges; generated views without it.
        shot: the file is a shot that the asset was compressed for: views between its frames judge. An asset made by ``compress`` with
            ``hold_out=False`` says so itself.
        page: where the quality report goes: "beside" for CANDIDATE.report.html, empty for none.
        numbers: where its JSON file goes; beside the page by default, and written without a page if given.
    """
    from .reporting import measure_asset, report_path, write_quality

    quality = measure_asset(original, candidate, cameras, views, shot, _stage("compare", report))
    written = write_quality(quality, report_path(page, candidate) if page else None, numbers)
    return {**quality.to_dict(), **written, "table": quality.comparison.table()}


JOBS: dict[str, JobFunction] = {"convert": convert, "compress": compress, "render": render, "eval": evaluate}


def read_with_keep_ratio(path: str, report: Report = silent) -> tuple[Gaussians, float]:
    """A cloud and how much of its capture it holds (1 where the file does not say)."""
    from ..formats import format_of

    if format_of(path).name == "exgs":
        from ..formats.exgs import read_asset

        asset = read_asset(Path(path))
        return asset.gaussians, asset.keep_ratio
    return _read_source(path, report), 1.0


def _read_source(path: str, report: Report) -> Gaussians:
    return read(path, report=_stage("read", report))


def _require_exgs(target: str) -> None:
    if not target.lower().endswith(".exgs"):
        raise FileError(target, "the compressed asset must end in .exgs", "For other formats use 'exgs convert'")


def _stage(prefix: str, report: Report) -> Report:
    """A listener that sees every inner stage under one name."""
    return lambda _stage_name, fraction: report(prefix, fraction)


def _peak_bytes() -> int:
    """Largest resident memory of this process so far; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
