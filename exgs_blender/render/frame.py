# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes out of a rasterizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..splats.gaussians import F32

RasterizeMode = Literal["classic", "antialiased"]
BackendChoice = Literal["auto", "gsplat", "cpu", "reference"]


@dataclass(frozen=True)
class Backend:
    """Which rasterizer ran and why, e.g. ("cpu", "no CUDA device; numba 0.61, 2 threads")."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Frame:
    """One rendered view. Row 0 is the top; colours are display-referred (sRGB-encoded), as trained.

    Attributes:
        rgb: [H, W, 3] premultiplied by alpha, not clipped above 1.
        alpha: [H, W] accumulated opacity 0..1.
        depth: [H, W] expected depth sum(w z) / max(alpha, 1e-10) along the view axis, world units; 0 where nothing is hit.
        backend: what rendered it.
    """

    rgb: F32
    alpha: F32
    depth: F32
    backend: Backend
