# SPDX-License-Identifier: GPL-3.0-or-later
"""The views that judge a compressed cloud, none of them a view that was scored, whatever views there were."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..cameras import Cameras, evenly_picked
from ..cameras.between import between
from ..cameras.cameras import F64
from ..cameras.trajectories import GOLDEN_ANGLE, Up
from ..splats import Gaussians
from .held_out import held_out_views, judging_size
from .shifts import picture_shifts, typical_depths

JudgingKind = Literal["held-out", "listed", "generated", "between"]

JUDGES = 8
LEAST_SHIFT = 0.01
"""A view whose content moves less than this part of the picture's width from a scored view is taken for the same view."""
MOVED_SHIFT = 0.02
"""How far such a view is moved aside."""
CUT_SHIFT = 0.5
"""Cameras farther apart than this are a cut: half-way between them no camera of the shot ever is."""
MOVED_COPIES = 4
"""Judges of a file that holds a single camera."""
DIRECTIONS = 8


@dataclass(frozen=True, eq=False)
class Judges:
    """Views that judge.

    Attributes:
        cameras: the views.
        kind: "held-out": every eighth of the file, which scoring leaves out; "listed": of a file of their own; "generated": made for
            the cloud, with another phase than the scored ones; "between":
            every camera of the file was scored, so they lie between consecutive ones.
        scored: how many views were scored; 0 where that is not known.
        nearest: per view, how far its content moves from the nearest view that may have been scored, in picture widths.
        moved: how many views were moved aside because they coincided with a scored one.
    """

    cameras: Cameras
    kind: JudgingKind
    scored: int
    nearest: tuple[float, ...]
    moved: int


def judging_views(
    gaussians: Gaussians,
    scored: Cameras,
    given: Cameras | None = None,
    *,
    hold_out: bool = True,
    count: int = JUDGES,
    known: bool = True,
    listed: Cameras | None = None,
    up: Up = "-y",
) -> Judges:
    """At most ``count`` views to judge on, each at least ``LEAST_SHIFT`` away from every view of ``scored``.

    Args:
        scored: the views that were scored, or all that may have been.
        given: the camera file that they came from; None where they were generated.
        hold_out: False where every view of the file was open to scoring (a shot).
        listed: the views that judge, where somebody says so; evenly picked.
        up: the capture's up direction, for generated views.
        known: False where ``scored`` is a guess; then their number is not told.
    """
    kind: JudgingKind
    if listed is not None:
        kind, views = "listed", judging_size(listed.evenly(count))
    elif given is None:
        kind, views = "generated", held_out_views(gaussians, None, count, up)
    elif hold_out and len(given) > 1:
        kind, views = "held-out", held_out_views(gaussians, given, count)
    else:
        kind, views = "between", judging_size(_between(given, count, typical_depths(gaussians, given)))
    views, moved = _moved_aside(views, scored, typical_depths(gaussians, views))
    nearest = picture_shifts(views, scored, typical_depths(gaussians, views)).min(axis=1)
    return Judges(views, kind, len(scored) if known else 0, tuple(float(shift) for shift in nearest), moved)


def _between(path: Cameras, count: int, depths: F64) -> Cameras:
    """At most ``count`` views half-way between consecutive ones, evenly picked; at a cut, the view before it."""
    if len(path) == 1:
        copies = path.select([0] * min(MOVED_COPIES, count))
        return replace(copies, names=tuple(f"{path.names[0]}+{i}" for i in range(1, len(copies) + 1)), frames=np.arange(1, len(copies) + 1))
    starts = evenly_picked(len(path) - 1, count)
    shifts = np.array([picture_shifts(path.select([i]), path.select([i + 1]), depths[[i]])[0, 0] for i in starts])
    before, after = path.select(starts), path.select(np.where(shifts < CUT_SHIFT, starts + 1, starts))
    return between(before, after, 0.5, tuple(f"{path.names[i]}-{path.names[i + 1]}" for i in starts))


def _moved_aside(views: Cameras, scored: Cameras, depths: F64) -> tuple[Cameras, int]:
    """Views that coincide with a scored one step aside, in the direction that leads farthest from all scored ones."""
    close = np.flatnonzero(picture_shifts(views, scored, depths).min(axis=1) < LEAST_SHIFT)
    viewmats = views.viewmats.copy()
    for i in close:
        focal = views.Ks[i, 0, 0] / views.widths[i]
        step = MOVED_SHIFT * (1 / focal if views.camera_model == "ortho" else depths[i] / focal)
        # Copies of one camera have to end in different places: each starts its search elsewhere.
        azimuth = i * GOLDEN_ANGLE + 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
        trials = np.tile(views.viewmats[i], (DIRECTIONS, 1, 1))
        trials[:, :2, 3] += step * np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)
        others = replace(views.select([i] * DIRECTIONS), viewmats=trials)
        distances = picture_shifts(others, scored, np.full(DIRECTIONS, depths[i])).min(axis=1)
        viewmats[i] = trials[np.argmax(distances > distances.max() * (1 - 1e-9))]
    return replace(views, viewmats=viewmats), len(close)
