# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's contact sheet: original | pruned | restored | composite for a few frames of the flight."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..cameras import Cameras
from ..evaluate.metrics import psnr
from ..progress import Report
from ..render.rasterize import rasterize_all
from ..sequence.finish import rgb8, rgb_over
from ..sequence.restorer import Restorer
from ..splats import Gaussians
from ..worker.jobs import read_with_guidance
from .contact_sheet import Image8, write_contact_sheet

ROWS = 3
COLUMNS = ("original capture", "compressed (UGC)", "restored (GaussPainter)", "composite in Blender")


def make_sheet(
    path: Path, capture: Gaussians, asset: Path, shot: Cameras, composites: list[Path], ratio: float, report: Report
) -> dict[str, float]:
    """Write the sheet; returns the mean PSNR (dB, over black) of the compressed and the restored frames in it."""
    pruned, keep_ratio, guidance = read_with_guidance(str(asset))
    picked = np.unique(np.linspace(0, len(shot) - 1, ROWS + 2).round().astype(int)[1:-1])  # neither the first nor the last
    views = shot.select(picked)
    restorer = Restorer()
    rows, before, after = [], [], []
    report("contact sheet", 0.0)
    for done, (index, whole, small) in enumerate(zip(picked, rasterize_all(capture, views), rasterize_all(pruned, views), strict=True), 1):
        restored = restorer(small, keep_ratio, guidance=guidance)
        truth, raw, repaired = rgb_over(whole), rgb_over(small), rgb_over(restored)
        before.append(psnr(truth, raw))
        after.append(psnr(truth, repaired))
        rows.append(
            [
                (rgb8(truth), f"frame {index + 1}"),
                (rgb8(raw), f"PSNR {before[-1]:.2f} dB"),
                (rgb8(repaired), f"PSNR {after[-1]:.2f} dB"),
                (_read(composites[index]), f"{composites[index].name}: depth-tested against Cycles"),
            ]
        )
        report("contact sheet", done / len(picked))
    title = f"{asset.name}: {len(pruned):,} of {len(capture):,} Gaussians, {asset.stat().st_size / 1e6:.2f} MB, {ratio:.0f}x smaller"
    write_contact_sheet(path, title, COLUMNS, rows)
    return {"psnr_pruned": float(np.mean(before)), "psnr_restored": float(np.mean(after))}


def _read(path: Path) -> Image8:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
