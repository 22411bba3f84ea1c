# SPDX-License-Identifier: GPL-3.0-or-later
"""What the residuals of a set of views ask of each Gaussian: the equations that ``ugc.refit`` solves. Needs numba."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..cameras import Cameras
from ..splats import NormalEquations
from ..splats.ellipsoids import UPPER, Ellipsoids
from ..splats.gaussians import F32
from ..splats.statistics import equation_columns
from . import cpu_backend, cpu_equations, cpu_residual
from .prepared import Part, PreparedScene
from .view import View, view_of


@dataclass(frozen=True, eq=False)
class Target:
    """What a view should look like: ``rgba`` [H, W, 4] float16, premultiplied, clipped to 0..1 as images are judged."""

    rgba: np.ndarray[tuple[int, int, int], np.dtype[np.float16]]


def target_of(rgb: F32, alpha: F32) -> Target:
    """The target that a frame of the source sets."""
    rgba = np.concatenate([np.clip(rgb, 0, 1), alpha[..., None]], axis=2)
    return Target(rgba.astype(np.float16))


def normal_equations(ellipsoids: Ellipsoids, cameras: Cameras, targets: Iterable[Target], *, threads: int | None = None) -> NormalEquations:
    """Render each view, and linearise its residuals around the cloud as it is.

    The derivative of the projection itself and of the direction of view by a Gaussian's position is left out, as is what one
    Gaussian's change does to another's block.

    Args:
        targets: one for each view, of its size.
        threads: at most so many CPU threads.
    """
    scene = prepared_from(ellipsoids)
    bases = ellipsoids.sh.shape[1]
    rows = np.zeros((len(ellipsoids), equation_columns(bases)), np.float32)
    errors: list[float] = []
    squared_error, values = 0.0, 0
    for index, target in enumerate(targets):
        residual = _add_view(scene, ellipsoids, view_of(cameras, index), target, rows, threads)
        of_channels = np.square(residual, dtype=np.float64).sum(axis=(0, 1))
        errors.append(float(of_channels.sum()))
        squared_error += float(of_channels[:3].sum())
        values += target.rgba[..., :3].size
    return NormalEquations(rows, bases, tuple(errors), squared_error, values)


def residual_errors(
    ellipsoids: Ellipsoids, cameras: Cameras, targets: Iterable[Target], *, threads: int | None = None
) -> tuple[float, ...]:
    """What ``NormalEquations.errors`` says, at a fraction of the price."""
    scene = prepared_from(ellipsoids)
    errors: list[float] = []
    for index, target in enumerate(targets):
        with cpu_backend.held_threads(threads):
            view = view_of(cameras, index)
            rgb, alpha, _ = cpu_backend.blend_tiles(cpu_backend.tile_lists(scene, view, "classic"), view)
        errors.append(float(np.square(_residual(target, rgb, alpha), dtype=np.float64).sum()))
    return tuple(errors)


def _residual(target: Target, rgb: F32, alpha: F32) -> F32:
    """[H, W, 4] truth minus render; both are clipped to 0..1, as images are judged."""
    residual = target.rgba.astype(np.float32)
    residual[..., :3] -= np.clip(rgb, 0, 1)
    residual[..., 3] -= alpha
    return residual


def prepared_from(ellipsoids: Ellipsoids) -> PreparedScene:
    """What the rasterizer takes, without the way over quaternions."""
    f = ellipsoids.factors
    covars = np.stack([np.einsum("nk,nk->n", f[:, i], f[:, j]) for i, j in UPPER], axis=1)
    part = Part(0, len(ellipsoids), ellipsoids.sh[:, :1], ellipsoids.sh[:, 1:], np.eye(4))
    return PreparedScene(ellipsoids.means, covars, ellipsoids.opacities, (part,))


def _add_view(scene: PreparedScene, ellipsoids: Ellipsoids, view: View, target: Target, rows: F32, threads: int | None) -> F32:
    """Add a view's equations to ``rows``; returns its residual [H, W, 4]."""
    with cpu_backend.held_threads(threads):
        lists = cpu_backend.tile_lists(scene, view, "classic")
        rgb, alpha, _ = cpu_backend.blend_tiles(lists, view)
        residual = _residual(target, rgb, alpha)
        sums = np.zeros((len(scene), cpu_residual.PULLS), np.float32)
        for first, last in cpu_backend.tile_groups(lists.offsets):
            begin, end = lists.offsets[first], lists.offsets[last]
            of_pairs = np.zeros((end - begin, cpu_residual.PULLS), np.float32)
            tile_range = np.array([first, last], np.int64)
            cpu_residual.pull(lists.splats, lists.offsets, lists.pairs, lists.tiles_x, tile_range, rgb, alpha, residual, of_pairs)
            cpu_residual.add_pulls(of_pairs, lists.pairs[begin:end], lists.slots, sums)
        towards, offset = view.ray
        cpu_equations.add_equations(
            lists.splats,
            lists.slots,
            sums,
            ellipsoids.means,
            ellipsoids.factors,
            np.array(view.viewmat),
            np.array(view.K),
            np.array([view.width, view.height], np.float64),
            view.ortho,
            towards,
            offset,
            ellipsoids.sh.shape[1],
            rows,
        )
    return residual
