# SPDX-License-Identifier: GPL-3.0-or-later
"""The surface that a cloud shows: rendered depths of many views fused into a signed distance (Curless and Levoy 1996), as a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..cameras import Cameras
from ..errors import ExgsError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.gaussians import F32
from ..splats.surface_nets import surface_nets
from .frame import Frame
from .rasterize import rasterize_all
from .view import View, view_of

SOLID_ALPHA = 0.5
"""Coverage from which on a pixel counts as surface. Others say nothing: they would eat away what is thin and seen from its edge."""
TRUNCATION = 3.0
"""In voxels: how far behind a surface its depth still says anything."""
BOX_QUANTILES = (0.01, 0.99)
"""Of the points seen, along each axis: what lies beyond is background."""
MARGIN = 0.05
FEWEST_VIEWS = 2
LEAST_SLANT = 0.1
SAMPLES_A_VIEW = 4000


@dataclass(frozen=True, eq=False)
class Surface:
    """vertices [V, 3] in the cloud's coordinates, and quads [Q, 4], counter-clockwise as seen from the free side."""

    vertices: F32
    quads: NDArray[np.int32]


def depth_surface(gaussians: Gaussians, cameras: Cameras, detail: int, report: Report = silent) -> Surface:
    """The surface that these views see of a cloud.

    Args:
        detail: voxels along the longest side of what is seen.

    Raises:
        ExgsError: no view sees anything solid.
    """
    frames = list(rasterize_all(gaussians, cameras, report=report))
    views = [view_of(cameras, i) for i in range(len(cameras))]
    report("fuse", 0.0)
    low, high = _seen_box(frames, views)
    voxel = float((high - low).max()) / detail
    shape = np.ceil((high - low) / voxel).astype(int) + 1
    axes = [low[axis] + voxel * np.arange(shape[axis]) for axis in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    total, weight = np.zeros(len(points), np.float32), np.zeros(len(points), np.int32)
    for i, (frame, view) in enumerate(zip(frames, views, strict=True)):
        _fuse(points, frame, view, TRUNCATION * voxel, total, weight)
        report("fuse", (i + 1) / len(views))
    known = weight >= min(FEWEST_VIEWS, len(views))
    field = np.where(known, total / np.maximum(weight, 1), 1.0).astype(np.float32)
    vertices, quads = surface_nets(field.reshape(shape), known.reshape(shape))
    if not len(quads):
        raise ExgsError("the capture has no solid surface in these views; it may be too transparent or too sparse")
    return Surface((vertices * voxel + low).astype(np.float32), quads)


def _seen_box(frames: list[Frame], views: list[View]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner of what the views see, without the far background."""
    seen = [_seen_points(frame, view) for frame, view in zip(frames, views, strict=True)]
    points = np.concatenate(seen)
    if len(points) < 8:
        raise ExgsError("no view sees anything solid of the capture; it may be too transparent or too sparse")
    low, high = np.quantile(points, BOX_QUANTILES, axis=0)
    margin = MARGIN * float((high - low).max()) + 1e-6
    return low - margin, high + margin


def _seen_points(frame: Frame, view: View) -> NDArray[np.float64]:
    """[n, 3] world places of some of the solid pixels."""
    rows, columns = np.nonzero(frame.alpha > SOLID_ALPHA)
    step = max(len(rows) // SAMPLES_A_VIEW, 1)
    rows, columns = rows[::step], columns[::step]
    depth = frame.depth[rows, columns].astype(np.float64)
    far = np.ones_like(depth) if view.ortho else depth
    x = (columns + 0.5 - view.K[0, 2]) / view.K[0, 0] * far
    y = (rows + 0.5 - view.K[1, 2]) / view.K[1, 1] * far
    world_from_cam = np.linalg.inv(view.viewmat)
    return np.stack([x, y, depth], axis=1) @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]


def _fuse(points: NDArray[np.float64], frame: Frame, view: View, truncation: float, total: F32, weight: NDArray[np.int32]) -> None:
    """Add to the points what one view says of them: their distance to the surface that it sees, -1..1 times the truncation.

    The distance is that to the plane through the pixel's surface. Along the ray itself, slanting views would pull the surface
    inwards: in front of it they exaggerate, behind it they fall silent.
    """
    in_camera = points @ view.viewmat[:3, :3].T + view.viewmat[:3, 3]
    z = in_camera[:, 2]
    ahead = np.nonzero(z > view.near)[0]
    far = 1.0 if view.ortho else z[ahead]
    column = np.floor(in_camera[ahead, 0] / far * view.K[0, 0] + view.K[0, 2]).astype(np.int64)
    row = np.floor(in_camera[ahead, 1] / far * view.K[1, 1] + view.K[1, 2]).astype(np.int64)
    visible = (column >= 0) & (column < view.width) & (row >= 0) & (row < view.height)
    index, row, column = ahead[visible], row[visible], column[visible]
    solid = frame.alpha[row, column] > SOLID_ALPHA
    index, row, column = index[solid], row[solid], column[solid]
    distance = (frame.depth[row, column] - z[index]) * _slant(frame, view)[row, column] / truncation
    told = distance > -1.0
    total[index[told]] += np.minimum(distance[told], 1.0).astype(np.float32)
    weight[index[told]] += 1


def _slant(frame: Frame, view: View) -> F32:
    """[H, W] what a step of 1 in depth comes to across the surface: 1 where it faces the view, less where it is seen at a slant."""
    rows, columns = np.mgrid[: view.height, : view.width] + 0.5
    towards = np.stack([(columns - view.K[0, 2]) / view.K[0, 0], (rows - view.K[1, 2]) / view.K[1, 1], np.ones_like(rows)], axis=-1)
    depth = frame.depth.astype(np.float64)[..., None]
    places = np.concatenate([towards[..., :2], depth], axis=-1) if view.ortho else towards * depth
    normal = np.cross(np.gradient(places, axis=1), np.gradient(places, axis=0))
    ray = np.array([0.0, 0.0, 1.0]) if view.ortho else towards
    along = np.abs((normal * ray).sum(axis=-1)) / np.maximum(np.linalg.norm(normal, axis=-1), 1e-30)
    return np.clip(along, LEAST_SLANT, None).astype(np.float32)
