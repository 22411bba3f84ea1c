# SPDX-License-Identifier: GPL-3.0-or-later
"""What the compressor is to reach, measured from the rows of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .rows import Row

Measure = Callable[[Sequence[Row]], "float | None"]
"""A number from the rows; None where the rows that it needs are not there."""


@dataclass(frozen=True)
class Target:
    """One line of the list of targets."""

    title: str
    wanted: float
    unit: str
    measure: Measure
    more_is_better: bool = True


def find(rows: Sequence[Row], scene: str, method: str, ratio: float | None = None) -> Row | None:
    """The row that was measured, if it was."""
    fitting = (row for row in rows if (row.scene, row.method) == (scene, method) and not row.note)
    return next((row for row in fitting if ratio is None or row.ratio_wanted == ratio), None)


def _psnr(scene: str, method: str, ratio: float | None = None) -> Measure:
    def measure(rows: Sequence[Row]) -> float | None:
        row = find(rows, scene, method, ratio)
        return row.psnr if row else None

    return measure


def _above_geometric(scene: str) -> Measure:
    def measure(rows: Sequence[Row]) -> float | None:
        ours, geometric = find(rows, scene, "ours", 100.0), find(rows, scene, "geometric", 100.0)
        return ours.psnr - geometric.psnr if ours and geometric else None

    return measure


def _smaller_than_spz(rows: Sequence[Row]) -> float | None:
    """Per cent, at SPZ's PSNR: our bytes there lie on the line through our levels, logarithm of bytes over dB."""
    spz = find(rows, "playbot", "spz")
    curve = sorted((row.psnr, np.log(row.bytes)) for row in rows if (row.scene, row.method) == ("playbot", "whole") and not row.note)
    if spz is None or len(curve) < 2 or not curve[0][0] <= spz.psnr <= curve[-1][0]:
        return None
    ours = float(np.exp(np.interp(spz.psnr, [psnr for psnr, _ in curve], [size for _, size in curve])))
    return 100 * (1 - ours / spz.bytes)


def _encode_seconds(rows: Sequence[Row]) -> float | None:
    row = find(rows, "playbot", "ours", 100.0)
    return row.encode_seconds if row else None


def _peak_over_ply(rows: Sequence[Row]) -> float | None:
    row = find(rows, "playbot", "ours", 100.0)
    return row.peak_bytes / (row.ratio * row.bytes) if row else None


def _decode_rate(rows: Sequence[Row]) -> float | None:
    """Of the whole scene, so that what a file costs whatever its size does not count."""
    row = find(rows, "playbot", "whole")
    return row.kept / row.decode_seconds / 1e6 if row else None


TARGETS = (
    Target("playbot kept to 10 %, before coding", 33.5, "dB", _psnr("playbot", "kept")),
    Target("playbot at 100x", 33.5, "dB", _psnr("playbot", "ours", 100.0)),
    Target("playbot at 1000x", 28.0, "dB", _psnr("playbot", "ours", 1000.0)),
    Target("snowmiku kept to 10 %, before coding", 32.5, "dB", _psnr("snowmiku", "kept")),
    *(
        Target(f"{scene} at 100x, above geometric merging", 3.0, "dB", _above_geometric(scene))
        for scene in ("banana", "caliterra", "snowmiku")
    ),
    Target("whole playbot at SPZ v4's PSNR, smaller by", 35.0, "%", _smaller_than_spz),
    Target("encode playbot to 100x, end to end", 40.0, "s", _encode_seconds, more_is_better=False),
    Target("its peak memory over the PLY", 4.0, "x", _peak_over_ply, more_is_better=False),
    Target("decode", 5.0, "M Gaussians/s", _decode_rate),
)
