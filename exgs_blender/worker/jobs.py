# SPDX-License-Identifier: GPL-3.0-or-later
"""Job name -> function. Each takes JSON values and a listener, returns JSON values, and writes its outputs atomically.

The command line calls the same functions in its own process. The heavy layers are imported inside, so that
``exgs info`` does not wait for numba.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..cameras import read_cameras
from ..formats import read, write, writer_for
from ..formats.describe import stored_bytes
from ..formats.verify import write_verified
from ..progress import Report, silent, under
from ..splats import Gaussians
from .compression import compress
from .proxy import proxy

JobFunction = Callable[..., dict[str, Any]]


def convert(
    source: str,
    target: str,
    sh_degree: int | None = None,
    level: int | None = None,
    spz_version: int | None = None,
    verify: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Any readable file -> any writable one. Returns count, SH degree and bytes.

    Args:
        sh_degree: drop the bands above it; None keeps all, and a target that cannot hold them is refused.
        level: of a capture with levels of detail; None takes the finest.
        spz_version: 1 to 4, for a target in SPZ.
        verify: read the file back and compare before it takes the place of an older one.
    """
    options = {} if spz_version is None else {"version": spz_version}
    writer_for(target, **options)  # complain before the long read
    gaussians = read(source, report=under("read", report), **({} if level is None else {"level": level}))
    if sh_degree is not None and sh_degree < gaussians.sh_degree:
        gaussians = gaussians.with_sh_degree(sh_degree)
    writer = write_verified if verify else write
    writer(Path(target), gaussians, report=under("write", report), **options)
    return {"target": target, "count": len(gaussians), "sh_degree": gaussians.sh_degree, "bytes": stored_bytes(target)}


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
    temporal: bool = True,
    report: Report = silent,
) -> dict[str, Any]:
    """Cameras + asset -> a folder of frames. Returns their paths, seconds by stage, and which backend ran."""
    from ..sequence.render import SequenceSettings, render_sequence

    views = read_cameras(cameras)
    gaussians, keep_ratio, guidance = read_with_guidance(asset, report)
    settings = SequenceSettings(
        format=format,  # type: ignore[arg-type]
        restore=restore,
        strength=strength,
        keep_ratio=keep_ratio,
        rasterize_mode=rasterize_mode,  # type: ignore[arg-type]
        backend=backend,  # type: ignore[arg-type]
        overwrite=overwrite,
        checkpoint=checkpoint,
        guidance=guidance,
        temporal=temporal,
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
    judges: str = "",
    report: Report = silent,
) -> dict[str, Any]:
    """Compare an asset with its capture on views that were not scored. Returns PSNR, SSIM and FLIP per view, sizes, a headline.

    Args:
        cameras: camera file whose every eighth view judges; generated views without it.
        shot: the file is a shot that the asset was compressed for: views between its frames judge. An asset made by ``compress`` with
            ``hold_out=False`` says so itself.
        judges: camera file all of whose views judge, instead.
        page: where the quality report goes: "beside" for CANDIDATE.report.html, empty for none.
        numbers: where its JSON file goes; beside the page by default, and written without a page if given.
    """
    from .reporting import measure_asset, report_path, write_quality

    quality = measure_asset(original, candidate, cameras, views, shot, judges, under("compare", report))
    written = write_quality(quality, report_path(page, candidate) if page else None, numbers)
    return {**quality.to_dict(), **written, "table": quality.comparison.table()}


JOBS: dict[str, JobFunction] = {"convert": convert, "compress": compress, "render": render, "eval": evaluate, "proxy": proxy}


def read_with_guidance(path: str, report: Report = silent) -> tuple[Gaussians, float, str]:
    """A cloud, how much of its capture it holds (1 where the file does not say), and what the file tells the painter."""
    from ..formats import format_of

    if format_of(path).name == "exgs":
        from ..formats.exgs import read_asset

        asset = read_asset(Path(path))
        return asset.gaussians, asset.keep_ratio, asset.guidance
    return _read_source(path, report), 1.0, ""


def _read_source(path: str, report: Report) -> Gaussians:
    return read(path, report=under("read", report))
