# SPDX-License-Identifier: GPL-3.0-or-later
"""Restored frames of an animation that do not flicker: what the painter changes is averaged along the surfaces that it changed.

A restored frame is the render plus a change. Only the change is averaged, with the changes of up to WINDOW earlier frames, each
carried over by the frame's own depth and the two cameras: so the render itself is never blurred, and a pixel that the painter
leaves alone stays as it was rendered, to the bit. The window holds per-frame results and never averaged ones: a frame does not
depend on which frames were made before it, or whether any were.

After the history handling of temporal antialiasing (Karis 2014, "High Quality Temporal Supersampling"; Yang et al. 2020, "A Survey of
Temporal Antialiasing Techniques"): reprojection, depth test, clamp to the neighbourhood's range; but with a finite window.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..cameras import Cameras
from ..errors import MissingDependencyError
from ..render.frame import Frame
from ..splats.gaussians import F32
from .depth_fill import TRUSTED_ALPHA, fill_depth

F64 = NDArray[np.float64]

WEIGHTS = (1.0, 1.0, 1.0, 1.0)
"""What the change of one, two, ... frames earlier weighs beside the frame's own, which weighs 1."""
WINDOW = len(WEIGHTS)
DEPTH_TOLERANCE = 0.03
"""Relative difference of depth up to which two pixels show the same surface."""
CUT_SHIFT, CUT_SHARE = 0.25, 0.5
"""A cut: the picture moved by more than this share of its diagonal (median), or less than this share of it is in the earlier frame."""
CUT_TOLERANCE = 0.1
"""Relative difference of depth up to which surfaces are common for a cut: the expected depth of a fuzzy cloud wanders with the view."""
CUT_GRID = 8
"""Every so many pixels one is asked about a cut."""


@dataclass(frozen=True, eq=False)
class Change:
    """What the painter did to one frame.

    Attributes:
        view: the camera, alone in its set.
        rgba: [H, W, 4] restored - rendered, premultiplied.
        depth: [H, W] of the restored frame, 0 where it shows nothing.
    """

    view: Cameras
    rgba: F32
    depth: F32

    @property
    def is_nothing(self) -> bool:
        return not self.rgba.any()


def change_of(view: Cameras, frame: Frame, restored: Frame) -> Change:
    """The change between a frame and what ``Painter.restore`` made of it; ``view`` holds the one camera of both."""
    rgba = np.empty((*frame.alpha.shape, 4), np.float32)
    np.subtract(restored.rgb, frame.rgb, out=rgba[..., :3])
    np.subtract(restored.alpha, frame.alpha, out=rgba[..., 3])
    shown = (restored.alpha >= TRUSTED_ALPHA) & np.isfinite(restored.depth)
    return Change(view, rgba, np.where(shown, restored.depth, np.float32(0)))


def stabilised(frame: Frame, restored: Frame, own: Change, earlier: Iterable[Change], threads: int | None = None) -> Frame:
    """The restored frame with its change averaged over the earlier ones that show the same surfaces.

    Args:
        frame: as rendered.
        restored: after ``Painter.restore``; returned itself where there is nothing to average.
        own: ``change_of`` of both.
        earlier: changes of the frames before it, the nearest first; at most WINDOW are taken, none from behind a cut or after it. An
            iterator is asked for no more than are needed.
        threads: at most so many CPU threads; None for all that numba has.

    Raises:
        MissingDependencyError: numba is not in this Python.
    """
    if own.is_nothing:
        return restored
    try:
        from ..render.cpu_backend import held_threads
        from . import temporal_kernels as kernels
    except ImportError as error:
        raise MissingDependencyError("numba", "Stabilising restored frames") from error
    counted = _counted(own, earlier)
    if not counted:
        return restored
    total, weights = np.zeros_like(own.rgba), np.zeros_like(own.depth)
    rgb, alpha = np.empty_like(restored.rgb), np.empty_like(restored.alpha)
    low, high, row_low, row_high = (np.empty_like(own.rgba) for _ in range(4))
    ortho = own.view.camera_model == "ortho"
    with held_threads(threads):
        kernels.range_along_rows(own.rgba, row_low, row_high)
        kernels.range_along_columns(row_low, row_high, low, high)
        for weight, change in counted:
            turn, shift = pixels_there(own.view, change.view)
            history = (change.rgba, change.depth, turn, shift, ortho, DEPTH_TOLERANCE, np.float32(weight))
            kernels.add_earlier(own.rgba, own.depth, low, high, *history, total, weights)
        kernels.apply(frame.rgb, frame.alpha, restored.rgb, restored.alpha, total, weights, rgb, alpha)
    return replace(restored, rgb=rgb, alpha=alpha, depth=fill_depth(restored.depth, restored.alpha, alpha))


def _counted(own: Change, earlier: Iterable[Change]) -> list[tuple[float, Change]]:
    """The earlier changes of the same shot with their weights."""
    counted = []
    for weight, change in zip(WEIGHTS, earlier, strict=False):
        if is_cut(own, change):
            break
        if not same_view(own.view, change.view):  # from the same place the painter sees, and does, the same
            counted.append((weight, change))
    return counted


def pixels_there(here: Cameras, there: Cameras) -> tuple[F64, F64]:
    """(turn [3, 3], shift [3]) that take a pixel with depth of view ``here`` into view ``there``.

    Pinhole: q = z turn (u, v, 1) + shift is (u', v', 1) z'. Orthographic: q = turn (u, v, z) + shift is (u', v', z').
    """
    there_from_here = there.viewmats[0] @ np.linalg.inv(here.viewmats[0])
    if here.camera_model == "pinhole":
        K = there.Ks[0]
        return K @ there_from_here[:3, :3] @ np.linalg.inv(here.Ks[0]), K @ there_from_here[:3, 3]
    to_pixels, from_pixels = _ortho_pixels(there.Ks[0]), np.linalg.inv(_ortho_pixels(here.Ks[0]))
    whole = to_pixels @ there_from_here @ from_pixels
    return np.ascontiguousarray(whole[:3, :3]), np.ascontiguousarray(whole[:3, 3])


def _ortho_pixels(K: F64) -> F64:
    """[4, 4]: (x, y, z, 1) in the camera -> (u, v, z, 1)."""
    matrix = np.eye(4)
    matrix[:2, :2], matrix[:2, 3] = K[:2, :2], K[:2, 2]
    return matrix


def same_view(a: Cameras, b: Cameras) -> bool:
    """Whether two views are the same to the bit, whatever their numbers."""
    return np.array_equal(a.viewmats, b.viewmats) and np.array_equal(a.Ks, b.Ks)


def is_cut(own: Change, earlier: Change) -> bool:
    """Whether an earlier frame belongs to another shot: other size or projection, a jump of the camera, hardly a surface in common."""
    if earlier.depth.shape != own.depth.shape or earlier.view.camera_model != own.view.camera_model:
        return True
    offset = CUT_GRID // 2 if min(own.depth.shape) > CUT_GRID // 2 else 0
    rows, columns = (np.arange(offset, side, CUT_GRID) for side in own.depth.shape)
    depth = own.depth[np.ix_(rows, columns)].astype(np.float64)
    v, u = np.meshgrid(rows + 0.5, columns + 0.5, indexing="ij")
    seen = depth > 0
    if not seen.any():
        return False
    u, v, z = u[seen], v[seen], depth[seen]
    turn, shift = pixels_there(own.view, earlier.view)
    pinhole = own.view.camera_model == "pinhole"
    q = (turn @ np.stack([u * z, v * z, z]) if pinhole else turn @ np.stack([u, v, z])) + shift[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = (q[0] / q[2], q[1] / q[2]) if pinhole else (q[0], q[1])
    height, width = own.depth.shape
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height) & ((q[2] > 0) | (not pinhole))
    found = earlier.depth[y[inside].astype(int), x[inside].astype(int)]
    same = (found > 0) & (np.abs(found - q[2][inside]) <= CUT_TOLERANCE * np.abs(q[2][inside]))
    if same.sum() < CUT_SHARE * len(z):
        return True
    moved = np.hypot(x[inside] - u[inside], y[inside] - v[inside])[same]
    return bool(np.median(moved) > CUT_SHIFT * np.hypot(width, height))


def warm_up() -> None:
    """Compile the kernels, or load them from numba's cache on disk."""
    from ..cameras.trajectories import Extent, turntable
    from ..render.frame import Backend

    views = turntable(Extent(np.zeros(3), 1.0, np.array([0.0, 1.0, 0.0])), 200, width=16, height=16)
    ones = np.ones((16, 16), np.float32)
    depth = np.full((16, 16), 2.2, np.float32)
    frame = Frame(np.zeros((16, 16, 3), np.float32), 0.5 * ones, depth, Backend("none", "warm-up"))
    restored = replace(frame, alpha=ones)
    now, before = (change_of(views.select([i]), frame, restored) for i in (1, 0))
    stabilised(frame, restored, now, [before])
