# SPDX-License-Identifier: GPL-3.0-or-later
"""How far apart two views are, as the picture tells it."""

from __future__ import annotations

import numpy as np

from ..cameras import Cameras
from ..cameras.cameras import F64
from ..splats import Gaussians

DEPTH_SAMPLE = 20_000


def typical_depths(gaussians: Gaussians, views: Cameras) -> F64:
    """[C] median depth of the Gaussians inside each picture, in the camera's units; of all where none is inside."""
    points = gaussians.means[:: max(len(gaussians) // DEPTH_SAMPLE, 1)].astype(np.float64)
    if not len(points):
        return np.ones(len(views))
    depths = np.ones(len(views))
    for i, (viewmat, K) in enumerate(zip(views.viewmats, views.Ks, strict=True)):
        x, y, z = viewmat[:3, :3] @ points.T + viewmat[:3, 3:]
        ahead = np.where(z > views.near_plane, z, np.inf) if views.camera_model == "pinhole" else np.ones_like(z)
        u, v = K[0, 0] * x / ahead + K[0, 2], K[1, 1] * y / ahead + K[1, 2]
        inside = (z > views.near_plane) & (u > 0) & (u < views.widths[i]) & (v > 0) & (v < views.heights[i])
        depths[i] = np.median(z[inside]) if inside.any() else np.median(np.sqrt(x**2 + y**2 + z**2))
    return np.maximum(depths, 1e-9)


def picture_shifts(views: Cameras, others: Cameras, depths: F64) -> F64:
    """[C, S] how far the content of each view (at ``depths`` [C]) moves to become that of each other view, in picture widths.

    The sum of what the eye's way, the turn, the focal length and the principal point do; a bound, not a projection.
    """
    size, other_size = np.cbrt(np.linalg.det(views.viewmats[:, :3, :3])), np.cbrt(np.linalg.det(others.viewmats[:, :3, :3]))
    turns, other_turns = views.viewmats[:, :3, :3] / size[:, None, None], others.viewmats[:, :3, :3] / other_size[:, None, None]
    chord = np.linalg.norm(turns[:, None] - other_turns[None], axis=(2, 3)) / np.sqrt(8)
    angle = 2 * np.arcsin(np.clip(chord, 0, 1))
    way = np.einsum("cij,sj->csi", views.viewmats[:, :3, :3], others.positions()) + views.viewmats[:, None, :3, 3]
    if views.camera_model == "ortho":
        way[..., 2] = 0  # an orthographic picture does not change along its axis
    focal, other_focal = views.Ks[:, 0, 0] / views.widths, others.Ks[:, 0, 0] / others.widths
    unit = focal if views.camera_model == "ortho" else focal / depths
    centre, other_centre = views.Ks[:, :2, 2] / views.widths[:, None], others.Ks[:, :2, 2] / others.widths[:, None]
    moved = unit[:, None] * (np.linalg.norm(way, axis=2) + depths[:, None] * angle)
    zoomed = 0.5 * np.abs(focal[:, None] - other_focal) / focal[:, None]
    return moved + zoomed + np.linalg.norm(centre[:, None] - other_centre[None], axis=2)
