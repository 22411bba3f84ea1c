# SPDX-License-Identifier: GPL-3.0-or-later
"""Which views score a cloud and which judge it: two sets without a view in common."""

from __future__ import annotations

import numpy as np

from ..cameras import Cameras, concatenate
from ..cameras.between import between
from ..cameras.trajectories import GOLDEN_ANGLE, Extent, Up, directions, extent_of, ground_axes, looking_at, orbit
from ..splats import Gaussians
from ..splats.activation import opacity_from_logit, scale_from_log
from .shifts import picture_shifts, typical_depths

EVERY = 8
"""Every eighth camera of a file judges, as INRIA's split does (indices 0, 8, 16, ...)."""
TRAIN_COUNT, HELD_OUT_COUNT = 24, 6
FILE_TRAIN_COUNT = 96
"""Photos of a room overlap little: with 24 of 84 a fifth of snowmiku was seen by none, and a judge's view lost a wall (18 dB)."""
FEWEST, NEIGHBOURS, MAX_ATTEMPTS = 48, 3, 20
"""A file with fewer cameras than this is filled up with views between each and one of its nearest neighbours."""
MIN_WIDTH, JUDGE_WIDTH = 400, 640
TRAIN_SIZE = HELD_OUT_SIZE = (480, 360)
DISTANCES = (2.2, 1.5)
"""Radii of the generated orbits; nearer ones see what no artist frames and cost the rest dearly."""
HELD_OUT_PHASE = 0.37
ASIDE_COUNT, ASIDE_PHASE = 6, 0.71
INSIDE_FOV = 75.0


def training_views(gaussians: Gaussians, cameras: Cameras | None = None, count: int | None = None, up: Up = "-y") -> Cameras:
    """Views to score on; a few of them also measure amplification.

    From ``cameras`` where given: all but every eighth, at most ``count`` (96) evenly picked, images 400 px wide; a file with
    few cameras is filled up (48, or ``count``) with views between them, none nearer to a judge than the file's own. Else ``count`` (24)
    generated ones: orbits at two distances, or outward views from the inside where the cloud surrounds its middle.
    """
    if cameras is not None:
        left = [i for i in range(len(cameras)) if i % EVERY or len(cameras) == 1]
        own = scoring_views(cameras.select(left), count)
        return filled_up(gaussians, own, held_out_views(gaussians, cameras), FEWEST if count is None else count)
    return _generated(gaussians, TRAIN_COUNT if count is None else count, 0.0, TRAIN_SIZE, up)


def filled_up(gaussians: Gaussians, own: Cameras, judges: Cameras, count: int) -> Cameras:
    """``own`` and, up to ``count``, views at random places between neighbours: what is seen well by no photo is still looked at.

    A view is left out that comes nearer to one of ``judges`` than all of ``own`` do, lest the judges be scored after all.
    """
    if len(own) < 2 or len(own) >= count:
        return own
    rng = np.random.default_rng(0)
    shifts = picture_shifts(own, own, typical_depths(gaussians, own))
    np.fill_diagonal(shifts, np.inf)
    near = np.argsort(shifts, axis=1)[:, : min(NEIGHBOURS, len(own) - 1)]
    depths = typical_depths(gaussians, judges)
    allowed = picture_shifts(judges, own, depths).min(axis=1)[:, None]
    views, missing = [own], count - len(own)
    for attempt in range(MAX_ATTEMPTS):
        first = rng.integers(len(own), size=missing)
        second = near[first, rng.integers(near.shape[1], size=missing)]
        names = tuple(f"between {attempt}.{i}" for i in range(missing))
        found = between(own.select(first), own.select(second), rng.uniform(0.15, 0.85, missing), names)
        found = found.select(np.flatnonzero((picture_shifts(judges, found, depths) >= allowed).all(axis=0)))
        views.append(found)
        missing -= len(found)
        if missing == 0:
            break
    return concatenate(views)


def held_out_views(gaussians: Gaussians, cameras: Cameras | None = None, count: int | None = None, up: Up = "-y") -> Cameras:
    """Views to judge on, none of them in ``training_views`` of the same arguments.

    Every eighth of ``cameras`` where given (at most ``count``, evenly picked; all by default), else generated with another phase.
    """
    if cameras is not None:
        mine = cameras.select(slice(0, None, EVERY))
        return judging_size(mine if count is None else mine.evenly(count))
    return _generated(gaussians, count or HELD_OUT_COUNT, HELD_OUT_PHASE, HELD_OUT_SIZE, up)


def aside_views(gaussians: Gaussians, cameras: Cameras | None = None, up: Up = "-y") -> tuple[Cameras, Cameras | None]:
    """(Views that measure a wanted PSNR, the cameras that are left to score): none of them judges in the end.

    Of a file every eighth camera, beginning with the fifth; else generated ones of yet another phase. What is left of a file lacks the
    judges too, so all of it may be scored; a file too small to spare a camera measures on those that it scores.
    """
    if cameras is None:
        return _generated(gaussians, ASIDE_COUNT, ASIDE_PHASE, HELD_OUT_SIZE, up), None
    places = np.arange(len(cameras)) % EVERY
    mine, left = np.flatnonzero(places == EVERY // 2), np.flatnonzero((places != EVERY // 2) & (places != 0))
    if not len(mine):
        left = mine = np.flatnonzero(places) if len(cameras) > 1 else np.arange(1)
    return scoring_views(cameras.select(mine), ASIDE_COUNT), cameras.select(left)


def surrounds_viewer(gaussians: Gaussians, extent: Extent) -> bool:
    """Whether a viewer in the middle looks at surfaces in most directions with free space around: a room, not an object.

    Of 6 x 16 directions most must hold opaque matter beyond 0.4 radii, and little of the matter lies within 0.3 radii.
    """
    offset = gaussians.means.astype(np.float64) - extent.centre
    distance = np.linalg.norm(offset, axis=1)
    matter = opacity_from_logit(gaussians.opacities) * np.exp(np.sort(gaussians.scales, axis=1)[:, 1:].astype(np.float64).sum(axis=1))
    matter = np.minimum(matter, np.quantile(matter, 0.99)) if len(matter) else matter
    total = float(matter.sum())
    if total <= 0:
        return False
    inner = float(matter[distance < 0.3 * extent.radius].sum()) / total
    far = (distance > 0.4 * extent.radius) & (distance > scale_from_log(gaussians.scales).max(axis=1))
    away = offset[far] / distance[far, None]
    right, forward = ground_axes(extent.up)
    azimuth = ((np.arctan2(away @ forward, away @ right) / (2 * np.pi) + 0.5) * 16).astype(int) % 16
    band = np.clip(((away @ extent.up) * 0.5 + 0.5) * 6, 0, 5).astype(int)
    covered = np.bincount(band * 16 + azimuth, matter[far], 96) > 1e-3 * total
    return bool(covered.mean() > 0.8 and inner < 0.05)


def _generated(gaussians: Gaussians, count: int, phase: float, size: tuple[int, int], up: Up) -> Cameras:
    extent = extent_of(gaussians, up)
    width, height = size
    if surrounds_viewer(gaussians, extent):
        return _inside_out(extent, count, phase, width, height)
    shares = [count - count // 2, count // 2]
    sets = [
        orbit(extent, share, width=width, height=height, distance=distance, phase=phase + 0.21 * i)
        for i, (distance, share) in enumerate(zip(DISTANCES, shares, strict=True))
        if share
    ]
    views = concatenate(sets)
    numbers = np.arange(1, len(views) + 1)
    return Cameras(views.viewmats, views.Ks, views.widths, views.heights, numbers, tuple(f"{i:04d}" for i in numbers))


def _inside_out(extent: Extent, count: int, phase: float, width: int, height: int) -> Cameras:
    """Views from points near the middle, outwards on a sphere spiral that leaves out the poles."""
    t = (np.arange(count) + 0.5 + 0.5 * phase) / max(count, 1) % 1.0
    azimuth = np.arange(count) * GOLDEN_ANGLE + 2 * np.pi * phase
    height_of = 1.4 * t - 0.7
    direction = directions(extent.up, azimuth, np.sqrt(1 - height_of**2), height_of)
    eyes = extent.centre - 0.15 * extent.radius * direction
    return looking_at(eyes, eyes + direction, extent.up, width, height, INSIDE_FOV)


def scoring_views(cameras: Cameras, count: int | None = None) -> Cameras:
    """At most ``count`` (96) of the views, evenly picked, with images 400 px wide: coverage matters more than resolution."""
    count = FILE_TRAIN_COUNT if count is None else count
    return _with_width(cameras.evenly(count), MIN_WIDTH)


def judging_size(cameras: Cameras) -> Cameras:
    """The views with images 640 px wide."""
    return _with_width(cameras, JUDGE_WIDTH)


def _with_width(cameras: Cameras, narrowest: int) -> Cameras:
    """Resized (keeping each image's shape where all are alike) so that the narrowest image is ``narrowest`` pixels wide."""
    longest = int(np.maximum(cameras.widths, cameras.heights).max())
    return cameras.resized(round(narrowest * longest / int(cameras.widths.min())))
