# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves: tables, JSON, the plot and the contact sheets."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from exgs_blender.atomic import atomic_path

from .methods import METHODS, splat_transform_version
from .plot import rate_distortion_svg
from .rows import Row
from .scenes import OUT, RESULTS, ROOT, Capture
from .sheet import SHEET_RATIOS, record_sheet, write_sheet
from .targets import TARGETS

HEAD = ("method", "bytes", "ratio", "Gaussians", "PSNR dB", "worst dB", "SSIM", "encode s", "decode s", "peak MB")


def write_report(captures: Sequence[Capture], rows: Sequence[Row], record: bool) -> None:
    """Write every result to ``benchmarks/out``, and to ``benchmarks/results`` where they are to be recorded."""
    text = report_text(captures, rows)
    print("\n" + text)
    data = {"machine": machine(), "rows": [_portable(row) for row in rows]}
    plot = rate_distortion_svg([capture.name for capture in captures], rows)
    for folder in [OUT, *([RESULTS] if record else [])]:
        for name, content in {".md": text, ".json": json.dumps(data, indent=1), ".svg": plot}.items():
            with atomic_path(folder / f"compression{name}") as part:
                part.write_text(content.rstrip("\n") + "\n", encoding="utf-8")
    for capture in captures:
        for ratio in SHEET_RATIOS:
            sheet = write_sheet(OUT, capture, ratio, rows)
            if sheet and record:
                record_sheet(sheet, RESULTS)


def report_text(captures: Sequence[Capture], rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "# Compression",
        "",
        f"{machine()}; splat-transform {splat_transform_version() or 'not installed'}.",
        "Made by `python -m benchmarks.compression --record`.",
        "PSNR and SSIM are against the unpruned source, over views that were never scored or fitted. The ratio is the source's float",
        "values without normals over the file's bytes. Encoding is timed from the start of its process to its end, decoding is reading",
        "into arrays by this project's readers; the peak is the encoding process's resident memory, Python and libraries included.",
        "",
        *targets_table(rows),
    ]
    for capture in captures:
        count, degree = len(capture.cloud), capture.cloud.sh_degree
        lines += [
            "",
            f"## {capture.name}",
            "",
            f"{count:,} Gaussians, SH {degree}, {capture.bytes:,} bytes. Judged on {capture.views}.",
            "",
        ]
        lines += ["| " + " | ".join(HEAD) + " |", "|---|" + "---:|" * (len(HEAD) - 1)]
        lines += [_line(row) for row in rows if row.scene == capture.name]
    notes = {
        f"- {row.label} of {row.scene}: {row.note}" if row.encode_seconds else f"- {row.method}: {row.note}" for row in rows if row.note
    }
    if notes:
        lines += ["", "Not there:", "", *sorted(notes)]
    stages = [row for row in rows if row.stages and row.method == "ours"]
    lines += ["", "Seconds by stage (ours):", ""] if stages else []
    lines += [f"- {row.scene} {row.ratio_wanted:g}x: {', '.join(f'{k} {v:.1f}' for k, v in row.stages.items())}" for row in stages]
    sections = [row for row in rows if row.sections and row.method == "ours"]
    lines += ["", "Bytes per Gaussian by section (ours):", ""] if sections else []
    lines += [
        f"- {row.scene} {row.ratio_wanted:g}x: {', '.join(f'{k} {v / row.kept:.2f}' for k, v in row.sections.items())}" for row in sections
    ]
    return "\n".join(lines)


def targets_table(rows: Sequence[Row]) -> list[str]:
    """Markdown lines: what was to be reached and what was."""
    lines = ["| target | to reach | measured | |", "|---|---:|---:|---|"]
    for target in TARGETS:
        value = target.measure(rows)
        if value is not None:
            reached = value >= target.wanted if target.more_is_better else value <= target.wanted
            verdict = "reached" if reached else "missed"
            lines.append(f"| {target.title} | {target.wanted:g} {target.unit} | {value:.4g} {target.unit} | {verdict} |")
    return lines if len(lines) > 2 else []


def machine() -> str:
    """Processor architecture, cores, load."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{platform.machine()}, {os.cpu_count()} CPUs{load}, Python {platform.python_version()}, numpy {np.__version__}"


def _line(row: Row) -> str:
    title = METHODS[row.method].title + (f", {row.ratio_wanted:g}x" if row.ratio_wanted else "")
    if row.note:
        return f"| {title} | " + " | ".join([row.note, *[""] * (len(HEAD) - 2)]) + " |"
    values = [title, f"{row.bytes:,}", f"{row.ratio:.1f}x", f"{row.kept:,}", f"{row.psnr:.2f}", f"{row.worst_psnr:.2f}", f"{row.ssim:.4f}"]
    values += [f"{row.encode_seconds:.1f}", f"{row.decode_seconds:.2f}", f"{row.peak_bytes / 1e6:.0f}"]
    return "| " + " | ".join(values) + " |"


def _portable(row: Row) -> dict[str, Any]:
    """Values for JSON, the file relative to the repository."""
    return {**asdict(row), "file": Path(row.file).relative_to(ROOT).as_posix() if row.file else ""}
