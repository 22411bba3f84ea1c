# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps from a quick look to the finished picture of a view. numpy only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...cameras import Cameras
from ...worker.protocol import RenderSettings

COARSEST = 4


@dataclass(frozen=True)
class Stage:
    """One render of a view: a pixel for ``coarseness`` squared ones, restored or not."""

    coarseness: int
    restore: bool


def stages(settings: RenderSettings) -> tuple[Stage, ...]:
    """Coarse first; GaussPainter, which takes longest, last."""
    found = [Stage(coarseness, restore=False) for coarseness in (COARSEST, 2, 1)]
    return (*found, Stage(1, restore=True)) if settings.restore else tuple(found)


def reduced(view: Cameras, coarseness: int) -> Cameras:
    """The same view with fewer pixels: sizes rounded up, so that nothing at the edges is lost."""
    if coarseness == 1:
        return view
    Ks = view.Ks.copy()
    Ks[:, :2] /= coarseness
    sizes = [np.ceil(np.asarray(size) / coarseness).astype(np.int64) for size in (view.widths, view.heights)]
    return replace(view, Ks=Ks, widths=sizes[0], heights=sizes[1])
