# SPDX-License-Identifier: GPL-3.0-or-later
"""The painter's table and its strips of frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from exgs_blender.evaluate.metrics import judged
from exgs_blender.render.frame import Frame

ROOT = Path(__file__).resolve().parents[2]
HEADER = """| scene | cut | keep | method | PSNR | gain | worst frame | SSIM | MS-SSIM | HaarPSI | FLIP |
|---|---|---|---|---|---|---|---|---|---|---|"""
CUTS = {"exgs": "the paper's", "merge": "ours", "none": "-"}


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    before: dict[tuple[str, str, float], float] = {}
    lines = [
        "# GaussPainter: frames of pruned scenes before and after restoration",
        "",
        f"Made by `python -m benchmarks.painter --record` with checkpoint {result['checkpoint']}. Against the unpruned render, over black;",
        "means over views that neither scored the cut nor trained the painter. Cuts: the paper's (sampled, amplified) and ours (merged,",
        "re-fitted), both rounded like a file. *blind* knows the keep ratio alone; *fitted* follows the scene's mix in the file, as the",
        "product does. Gains in dB of PSNR against unrestored. Higher is better, but for FLIP.",
        "",
        HEADER,
    ]
    for row in result["rows"]:
        scores, place = row["scores"], (row["scene"], row["cut"], row["keep"])
        if row["method"] == "unrestored":
            before[place] = scores["psnr"]
        gain = scores["psnr"] - before[place]
        lines.append(
            f"| {row['scene']} ({row['role']}) | {CUTS[row['cut']]} | {100 * row['keep']:g} % | {row['method']} | {scores['psnr']:.2f} "
            f"| {gain:+.2f} | {row['worst_gain']:+.2f} | {scores['ssim']:.4f} | {scores['ms_ssim']:.4f} | {scores['haarpsi']:.4f} "
            f"| {scores['flip']:.4f} |"
        )
    lines += ["", f"Time per frame on {result['device']}:", ""]
    lines += [f"- {label}: {clock:.0f} ms, {used:.0f} CPU-ms" for label, (clock, used) in result["milliseconds"].items()]
    return "\n".join(lines) + "\n"


def write(name: str, result: dict[str, Any], page: str, record: bool) -> None:
    """``benchmarks/out/NAME.json``; with ``record`` also ``benchmarks/results/NAME.json`` and ``.md``."""
    folders = [ROOT / "benchmarks" / "out", *([ROOT / "benchmarks" / "results"] if record else [])]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    if record:
        (folders[-1] / f"{name}.md").write_text(page, encoding="utf-8")


def save_strip(path: Path, frames: tuple[Frame, ...]) -> None:
    """Frames side by side over black."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    strip = np.concatenate([judged(frame.rgb) for frame in frames], axis=1)
    Image.fromarray(np.rint(strip * 255).astype(np.uint8)).save(path)
