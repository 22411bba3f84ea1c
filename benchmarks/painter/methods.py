# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to restore a frame: ours, and what any image program offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from exgs_blender.evaluate.filters import correlate_edges, gaussian_taps
from exgs_blender.evaluate.metrics import judged
from exgs_blender.painter import Painter
from exgs_blender.render.frame import Frame

Method = Callable[[Frame], Frame]

UNSHARP_SIGMA, UNSHARP_AMOUNT = 1.0, 0.5
BILATERAL_DIAMETER, BILATERAL_COLOUR, BILATERAL_SPACE = 5, 0.08, 1.5
HOLE, CLOSING, INPAINT_RADIUS = 0.5, 15, 4


def methods(painter: Painter, keep: float, guidance: str) -> dict[str, Method]:
    """Name -> method. ``blind`` knows the keep ratio alone, ``fitted`` what the file says, as the product does."""
    ours: dict[str, Method] = {
        "blind": lambda frame: painter.restore(frame, keep),
        "fitted": lambda frame: painter.restore(frame, keep, guidance=guidance),
    }
    return {"unrestored": lambda frame: frame, "unsharp": _unsharp, **_opencv(), **ours}


def _unsharp(frame: Frame) -> Frame:
    taps = gaussian_taps(3, UNSHARP_SIGMA)
    taps /= taps.sum()
    soft = correlate_edges(correlate_edges(frame.rgb, taps, 0), taps, 1)
    return replace(frame, rgb=frame.rgb + np.float32(UNSHARP_AMOUNT) * (frame.rgb - soft))


def _opencv() -> dict[str, Method]:
    """Bilateral filter and Telea's inpainting of enclosed holes; empty where OpenCV is not installed."""
    try:
        import cv2
    except ImportError:
        print("bilateral, inpainting: not measured (pip install 'opencv-python-headless<4.12')")
        return {}

    def bilateral(frame: Frame) -> Frame:
        return replace(frame, rgb=cv2.bilateralFilter(judged(frame.rgb), BILATERAL_DIAMETER, BILATERAL_COLOUR, BILATERAL_SPACE))

    def inpainted(frame: Frame) -> Frame:
        covered = (frame.alpha >= HOLE).astype(np.uint8)
        closed = cv2.morphologyEx(covered, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (CLOSING, CLOSING)))
        holes = ((closed > 0) & (covered == 0)).astype(np.uint8)
        painted = cv2.inpaint(np.rint(judged(frame.rgb) * 255).astype(np.uint8), holes, INPAINT_RADIUS, cv2.INPAINT_TELEA)
        return replace(frame, rgb=np.where(holes[..., None] > 0, painted.astype(np.float32) / 255, frame.rgb))

    return {"bilateral": bilateral, "inpainting": inpainted}
