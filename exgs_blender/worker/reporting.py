# SPDX-License-Identifier: GPL-3.0-or-later
"""The quality report as the compress and eval jobs make it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..cameras import Cameras, read_cameras
from ..cameras.trajectories import Up
from ..errors import ExgsError
from ..evaluate.held_out import training_views
from ..evaluate.judging import Judges, judging_views
from ..evaluate.report import Facts, QualityReport, measure, report_beside, write_numbers, write_report
from ..formats import format_of, read
from ..formats.describe import stored_bytes
from ..progress import Report
from ..splats import Gaussians
from ..ugc.bitstream import section_sizes
from ..ugc.pipeline import SHOT, CompressResult, decompress
from .protocol import BESIDE

SHOWN_ELSEWHERE = ("source_name", "source_count", "kept", "keep_ratio")


def report_path(page: str, asset: str) -> Path:
    """The page's path: beside the asset for ``BESIDE``."""
    return report_beside(Path(asset)) if page == BESIDE else Path(page)


def measure_compressed(
    gaussians: Gaussians,
    result: CompressResult,
    source: str,
    target: str,
    scored: Cameras,
    given: Cameras | None,
    hold_out: bool,
    listed: Cameras | None,
    seconds: dict[str, float],
    up: Up,
    report: Report,
) -> QualityReport:
    """What compression made of a cloud, as a reader of the file gets it.

    Args:
        scored: the views that were scored.
        given: the camera file's views, None where there was none.
        hold_out: whether every eighth of them was left out.
        listed: the views that judge, where somebody said so.
        seconds: of the stages so far.
        up: the capture's up direction, for generated judges.
    """
    asset = decompress(result.data, target)
    judges = judging_views(gaussians, scored, given, hold_out=hold_out, listed=listed, up=up)
    facts = _facts(source, target, asset.metadata, result.data)
    facts = replace(facts, attributes=result.sections, seconds={name: round(value, 3) for name, value in seconds.items()})
    return measure(gaussians, asset.gaussians, judges, facts, report)


def measure_asset(original: str, candidate: str, cameras: str, views: int, shot: bool, judges: str, report: Report) -> QualityReport:
    """Any splat file against its capture.

    Args:
        cameras: a camera file; generated views judge without it.
        judges: a file all of whose cameras judge, instead.
        shot: the file is a shot whose every frame was open to scoring. An .exgs asset that was compressed for a shot says so itself.
    """
    source = read(original, report=report)
    data, metadata = b"", {}
    if format_of(candidate).name == "exgs":
        data = Path(candidate).read_bytes()
        asset = decompress(data, candidate)
        gaussians, metadata = asset.gaussians, asset.metadata
    else:
        gaussians = read(candidate, report=report)
    found = _judges_of_asset(source, cameras, views, shot or metadata.get("views") == SHOT, judges, metadata.get("up", "-y"))
    facts = _facts(original, candidate, metadata, data)
    return measure(source, gaussians, found, facts, report)


def without(cameras: Cameras, judges: str) -> Cameras:
    """The cameras of a file but for those that the file ``judges`` names too.

    Raises:
        ExgsError: none are left.
    """
    if not judges:
        return cameras
    names = set(read_cameras(judges).names)
    left = [i for i, name in enumerate(cameras.names) if name not in names]
    if not left:
        raise ExgsError(f"every camera is also in {judges}: none is left to score")
    return cameras.select(left)


def write_quality(quality: QualityReport, page: Path | None, numbers: str = "") -> dict[str, Any]:
    """Write the page and its JSON file, or what of them is asked for; returns the quality in short and the paths."""
    result = quality.comparison
    told: dict[str, Any] = {"headline": quality.headline, "warnings": list(quality.warnings)}
    told |= {"psnr": result.psnr, "worst_psnr": result.worst_psnr, "ssim": result.ssim, "flip": result.flip}
    if page is not None:
        html, written = write_report(quality, page, Path(numbers) if numbers else None)
        told |= {"report": str(html), "report_json": str(written)}
    elif numbers:
        write_numbers(quality, Path(numbers))
        told |= {"report_json": numbers}
    return told


def _judges_of_asset(source: Gaussians, cameras: str, views: int, shot: bool, judges: str, up: Up) -> Judges:
    """Judges without knowing which views were scored: away from all that compression may have taken."""
    given, listed = without(read_cameras(cameras), judges) if cameras else None, read_cameras(judges) if judges else None
    every = len(given) if given is not None else None
    scored = given if given is not None and shot else training_views(source, given, every, up)
    return judging_views(source, scored, given, hold_out=not shot, count=views, known=False, listed=listed, up=up)


def _facts(source: str, target: str, metadata: dict[str, Any], data: bytes) -> Facts:
    """What metadata and bytes of an .exgs file say; ``data`` is empty for other files."""
    return Facts(
        source=str(metadata.get("source_name") or Path(source).name),
        asset=Path(target).name,
        asset_bytes=len(data) or stored_bytes(target),
        source_file_bytes=stored_bytes(source),
        sections=section_sizes(data, target) if data else {},
        settings={name: value for name, value in metadata.items() if name not in SHOWN_ELSEWHERE},
    )
