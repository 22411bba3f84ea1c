# SPDX-License-Identifier: GPL-3.0-or-later
"""Crops of the source beside those of every method at one ratio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from exgs_blender.atomic import atomic_path
from exgs_blender.cli.contact_sheet import Image8, write_contact_sheet
from exgs_blender.evaluate.metrics import judged, psnr
from exgs_blender.formats import read
from exgs_blender.render.rasterize import rasterize
from exgs_blender.splats import Gaussians
from exgs_blender.splats.gaussians import F32

from .methods import METHODS
from .rows import Row
from .scenes import Capture

SHEET_RATIOS = (100.0, 1000.0)
CROP = 300
"""Pixels a side."""
VIEWS_SHOWN = 2
JPEG_QUALITY = 82


def write_sheet(folder: Path, capture: Capture, ratio: float, rows: Sequence[Row]) -> Path | None:
    """A PNG with rows of views and columns of methods; None where no method was run at this ratio."""
    shown = [row for row in rows if row.scene == capture.name and row.ratio_wanted == ratio and not row.note]
    if not shown:
        return None
    views = np.linspace(0, len(capture.judge) - 1, VIEWS_SHOWN + 2).round().astype(int)[1:-1]
    clouds = [capture.cloud, *(read(row.file) for row in shown)]
    captions = ["", *(f"{row.psnr:.2f} dB, {row.bytes / 1e3:,.0f} kB" for row in shown)]
    cells = [_cells(capture, int(view), clouds, captions) for view in views]
    title = f"{capture.name} at {ratio:g}x of {capture.bytes / 1e6:.1f} MB: crops of views that judge"
    path = folder / f"compression-{capture.name}-{ratio:g}x.png"
    write_contact_sheet(path, title, ["source", *(METHODS[row.method].title for row in shown)], cells)
    return path


def record_sheet(sheet: Path, folder: Path) -> None:
    """The sheet as a JPEG: small enough to be kept with the results."""
    from PIL import Image

    with atomic_path(folder / sheet.with_suffix(".jpg").name) as part:
        Image.open(sheet).save(part, "JPEG", quality=JPEG_QUALITY)


def _cells(capture: Capture, view: int, clouds: Sequence[Gaussians], captions: Sequence[str]) -> list[tuple[Image8, str]]:
    frames = [judged(rasterize(cloud, capture.judge, view).rgb) for cloud in clouds]
    top, left = busiest(frames[0])
    crops = [frame[top : top + CROP, left : left + CROP] for frame in frames]
    texts = [caption and f"{caption}; here {psnr(crop, crops[0]):.1f}" for crop, caption in zip(crops, captions, strict=True)]
    texts[0] = f"view {capture.judge.names[view]}"
    return [((crop * 255).round().astype(np.uint8), text) for crop, text in zip(crops, texts, strict=True)]


def busiest(image: F32) -> tuple[int, int]:
    """Top left corner of the crop with the most detail: the largest sum of differences between neighbouring pixels."""
    grey = image.mean(axis=2, dtype=np.float64)
    detail = np.zeros_like(grey)
    detail[:, 1:] += np.abs(np.diff(grey, axis=1))
    detail[1:] += np.abs(np.diff(grey, axis=0))
    total = np.pad(detail.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    height, width = min(CROP, grey.shape[0]), min(CROP, grey.shape[1])
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left)
