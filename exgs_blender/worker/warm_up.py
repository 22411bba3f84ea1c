# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compiled on first use, compiled now: a small cloud goes through the whole of compression, and a larger one through the codec."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..formats import write
from ..painter import temporal
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import logit_from_opacity, sh0_from_rgb
from ..ugc.compiled import COMPILED_FROM
from ..ugc.pipeline import decompress, encode_all
from .compression import compress
from .protocol import BESIDE

SPLATS = 400
RATIO = 8.0
VIEWS = 2


@dataclass(frozen=True)
class Trial:
    """A compression that really ran: splats in, bytes out, and the seconds of everything here."""

    splats: int
    bytes: int
    seconds: float


def warm_up(report: Report = silent) -> Trial:
    """Render, score, merge, re-fit, code, judge and decode made-up clouds, stabilise a frame; minutes at first, later seconds.

    Numba keeps what it compiled on the disk, so that no later process waits: see ``render.cpu_backend.warm_up`` for where.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="exgs-trial-") as folder:
        source, target = Path(folder) / "trial.ply", Path(folder) / "trial.exgs"
        write(source, _cloud(SPLATS))
        compress(str(source), str(target), ratio=RATIO, views=VIEWS, page=BESIDE, report=report)
        size = target.stat().st_size
    report("decode", 0.0)
    decompress(encode_all(_cloud(COMPILED_FROM)))  # the decoder's loops are compiled for large clouds only
    temporal.warm_up()
    return Trial(SPLATS, size, time.perf_counter() - began)


def _cloud(count: int) -> Gaussians:
    """A ball of coloured splats that look a little different from every side."""
    rng = np.random.default_rng(0)
    return Gaussians(
        means=rng.normal(size=(count, 3)).astype(np.float32),
        quats=rng.normal(size=(count, 4)).astype(np.float32),
        scales=rng.normal(-2.5, 0.3, (count, 3)).astype(np.float32),
        opacities=logit_from_opacity(np.full(count, 0.95, np.float32)),
        sh0=sh0_from_rgb(rng.uniform(0.1, 0.9, (count, 1, 3)).astype(np.float32)),
        shN=rng.normal(0, 0.1, (count, 3, 3)).astype(np.float32),
    )
