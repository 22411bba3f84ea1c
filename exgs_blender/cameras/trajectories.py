# SPDX-License-Identifier: GPL-3.0-or-later
"""View sets made for a cloud: an orbit from outside, or views from the inside of a room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..errors import ExgsError
from ..splats import Gaussians
from ..splats.activation import opacity_from_logit
from .cameras import F64, NEAR_PLANE, Cameras

GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
BOX_QUANTILES = (0.01, 0.99)
Axis = Literal["+x", "-x", "+y", "-y", "+z", "-z"]
Up = Axis | Sequence[float]
"""The world's up direction in a capture's own axes: the name of one, or a vector [3] of any length."""


@dataclass(frozen=True)
class Extent:
    """Where a cloud is: the middle [3] and half the diagonal of the box that holds nearly all of it, and the up axis [3]."""

    centre: F64
    radius: float
    up: F64


def extent_of(gaussians: Gaussians, up: Up = "-y") -> Extent:
    """The box that holds 98 % of the opacity along each axis, so that floaters and sky do not count.

    The opacity's own centre would lie in the densest part, often the ground, and cut off what stands on it.
    COLMAP-made captures have -y up.

    Raises:
        ExgsError: ``up`` is no direction.
    """
    if len(gaussians) == 0:
        return Extent(np.zeros(3), 1.0, up_vector(up))
    weights = opacity_from_logit(gaussians.opacities).astype(np.float64) + 1e-6
    ends = np.array([_weighted_quantiles(gaussians.means[:, i].astype(np.float64), weights, BOX_QUANTILES) for i in range(3)]).T
    radius = max(float(np.linalg.norm(ends[1] - ends[0])) / 2, 1e-6)
    return Extent(ends.mean(axis=0), radius, up_vector(up))


def orbit(
    extent: Extent,
    count: int,
    *,
    width: int = 640,
    height: int = 480,
    fov_degrees: float = 50.0,
    distance: float = 2.2,
    elevations: tuple[float, float] = (5.0, 60.0),
    phase: float = 0.0,
) -> Cameras:
    """``count`` views from outside that look at the centre, spread over a band of elevations (degrees).

    ``distance`` is in radii; ``phase`` (0..1) turns the pattern, so that two sets share no view.
    """
    t = (np.arange(count) + 0.5 + 0.5 * phase) / max(count, 1) % 1.0
    elevation = np.radians(elevations[0] + (elevations[1] - elevations[0]) * t)
    azimuth = np.arange(count) * GOLDEN_ANGLE + 2 * np.pi * phase
    direction = directions(extent.up, azimuth, np.cos(elevation), np.sin(elevation))
    eyes = extent.centre + direction * extent.radius * distance
    return looking_at(eyes, np.tile(extent.centre, (count, 1)), extent.up, width, height, fov_degrees)


def turntable(
    extent: Extent,
    count: int,
    *,
    width: int = 640,
    height: int = 480,
    fov_degrees: float = 50.0,
    distance: float = 2.2,
    elevation: float = 20.0,
    arc_degrees: float = 360.0,
    start_degrees: float = 0.0,
) -> Cameras:
    """``count`` frames of a camera that circles the centre at one height: a flythrough, in frame order."""
    azimuth = np.radians(start_degrees + arc_degrees * np.arange(count) / max(count, 1))
    level, rise = np.full(count, np.cos(np.radians(elevation))), np.full(count, np.sin(np.radians(elevation)))
    direction = directions(extent.up, azimuth, level, rise)
    eyes = extent.centre + direction * extent.radius * distance
    return looking_at(eyes, np.tile(extent.centre, (count, 1)), extent.up, width, height, fov_degrees)


def looking_at(eyes: F64, targets: F64, up: F64, width: int, height: int, fov_degrees: float) -> Cameras:
    """Pinhole cameras at ``eyes`` [C, 3] that look at ``targets`` [C, 3]; horizontal field of view in degrees."""
    count = len(eyes)
    z = targets - eyes
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    x = np.cross(z, up)
    degenerate = np.linalg.norm(x, axis=1) < 1e-6
    x[degenerate] = ground_axes(up)[0]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.cross(z, x)
    viewmats = np.tile(np.eye(4), (count, 1, 1))
    viewmats[:, :3, :3] = np.stack([x, y, z], axis=1)
    viewmats[:, :3, 3] = -np.einsum("cij,cj->ci", viewmats[:, :3, :3], eyes)
    f = width / (2 * np.tan(np.radians(fov_degrees) / 2))
    Ks = np.tile(np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1.0]]), (count, 1, 1))
    return Cameras(
        viewmats=viewmats,
        Ks=Ks,
        widths=np.full(count, width),
        heights=np.full(count, height),
        frames=np.arange(1, count + 1),
        names=tuple(f"{i:04d}" for i in range(1, count + 1)),
        near_plane=NEAR_PLANE,
    )


def up_vector(up: Up) -> F64:
    """[3] of length 1.

    Raises:
        ExgsError: neither the name of an axis nor three numbers that are not all 0.
    """
    if isinstance(up, str) and len(up) == 2 and up[0] in "+-" and up[1] in "xyz":
        return np.eye(3)["xyz".index(up[1])] * (1.0 if up[0] == "+" else -1.0)
    try:
        vector = np.asarray(up, np.float64)
    except (TypeError, ValueError):
        vector = np.zeros(0)
    if vector.shape != (3,) or not np.isfinite(vector).all() or not vector.any():
        raise ExgsError(f"up is {up!r}, expected an axis such as '-y' or '+z', or three numbers that are not all 0")
    vector = vector / np.abs(vector).max()
    return vector / np.linalg.norm(vector)


def directions(up: F64, azimuth: F64, level: F64, rise: F64) -> F64:
    """[C, 3] unit vectors: ``level`` [C] along the ground towards ``azimuth`` [C] (radians), ``rise`` [C] along ``up`` [3]."""
    right, forward = ground_axes(up)
    flat = np.cos(azimuth)[:, None] * right + np.sin(azimuth)[:, None] * forward
    return level[:, None] * flat + rise[:, None] * up


def ground_axes(up: F64) -> tuple[F64, F64]:
    """Two unit vectors that span the plane across ``up``."""
    helper = np.array([1.0, 0, 0]) if abs(up[0]) < 0.9 else np.array([0, 0, 1.0])
    right = np.cross(up, helper)
    right /= np.linalg.norm(right)
    return right, np.cross(up, right)


def _weighted_quantiles(values: F64, weights: F64, quantiles: tuple[float, ...]) -> F64:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    picked = np.minimum(np.searchsorted(share, np.array(quantiles) * share[-1]), len(values) - 1)
    return values[order[picked]]


def flight(cameras: Cameras, count: int, *, width: int, height: int, keys: int = 6) -> Cameras:
    """``count`` frames of a smooth flight along a capture's own views (in file order).

    ``keys`` views, evenly picked, are joined by a Catmull-Rom curve through their centres and through the
    points one unit ahead of them; the field of view is the first view's, fitted to ``width``.
    """
    picked = cameras.evenly(keys)
    world_from_cam = picked.world_from_cam()
    eyes = world_from_cam[:, :3, 3]
    ahead = max(float(np.linalg.norm(np.ptp(eyes, axis=0))), 1e-3)
    targets = eyes + ahead * world_from_cam[:, :3, 2]
    up = -world_from_cam[:, :3, 1].mean(axis=0)
    t = np.linspace(0, len(picked) - 1, count)
    fov = 2 * np.degrees(np.arctan(picked.widths[0] / (2 * picked.Ks[0, 0, 0])))
    path = looking_at(_catmull_rom(eyes, t), _catmull_rom(targets, t), up / max(np.linalg.norm(up), 1e-9), width, height, float(fov))
    return replace(path, near_plane=cameras.near_plane, far_plane=cameras.far_plane)


def _catmull_rom(points: F64, t: F64) -> F64:
    """Points [P, 3] -> the uniform Catmull-Rom curve (Catmull and Rom 1974) at ``t`` [C] in 0..P-1."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    segment = np.clip(t.astype(int), 0, max(len(points) - 2, 0))
    u = (t - segment)[:, None]
    p0, p1, p2, p3 = (padded[np.minimum(segment + k, len(padded) - 1)] for k in range(4))
    cubic = (3 * (p1 - p2) + p3 - p0) * u
    return 0.5 * (2 * p1 + ((cubic + 2 * p0 - 5 * p1 + 4 * p2 - p3) * u + p2 - p0) * u)
