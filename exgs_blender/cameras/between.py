# SPDX-License-Identifier: GPL-3.0-or-later
"""Views part of the way from one camera to another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .cameras import F64, Cameras


def between(before: Cameras, after: Cameras, share: F64 | float, names: tuple[str, ...]) -> Cameras:
    """[C] views ``share`` (0..1, one or [C]) of the way from each of ``before`` to the same of ``after``, with the former's image size.

    Eyes, lenses and scales go along straight lines; the rotation is the one nearest to the weighted mean of the two matrices,
    which for equal shares is half-way between them.
    """
    t = np.broadcast_to(np.asarray(share, np.float64), (len(before),))[:, None, None]
    size = (1 - t) * _sizes(before) + t * _sizes(after)
    eyes = (1 - t[:, 0]) * before.positions() + t[:, 0] * after.positions()
    turns = (1 - t) * before.viewmats[:, :3, :3] / _sizes(before) + t * after.viewmats[:, :3, :3] / _sizes(after)
    u, _, vt = np.linalg.svd(turns)
    u[..., 2] *= np.linalg.det(u @ vt)[:, None]
    viewmats = before.viewmats.copy()
    viewmats[:, :3, :3] = size * (u @ vt)
    viewmats[:, :3, 3] = -np.einsum("cij,cj->ci", viewmats[:, :3, :3], eyes)
    scale = np.stack([before.widths / after.widths, before.heights / after.heights, np.ones(len(before))], axis=1)
    Ks = (1 - t) * before.Ks + t * after.Ks * scale[:, :, None]
    return replace(before, viewmats=viewmats, Ks=Ks, names=names)


def _sizes(views: Cameras) -> F64:
    """[C, 1, 1] the uniform scale of each ``cam_from_world``."""
    return np.cbrt(np.linalg.det(views.viewmats[:, :3, :3]))[:, None, None]
