# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras and comparisons that the render tests share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exgs_blender.cameras import Cameras
from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.render.frame import Frame
from exgs_blender.splats import Gaussians

ENOUGH_DB = 90.0


def around(cloud: Gaussians, count: int = 2, *, width: int = 131, height: int = 93, distance: float = 1.4, ortho: bool = False) -> Cameras:
    """Views from outside; the image is no multiple of a tile, and at this distance some Gaussians lie behind the camera's edge."""
    cameras = orbit(extent_of(cloud), count, width=width, height=height, distance=distance)
    if not ortho:
        return cameras
    Ks = cameras.Ks.copy()
    Ks[:, 0, 0], Ks[:, 1, 1] = width / 3, width / 2.5
    return replace(cameras, Ks=Ks, camera_model="ortho")


def psnr(a: NDArray[Any], b: NDArray[Any], peak: float = 1.0) -> float:
    """dB; infinite where both are equal."""
    error = float(np.mean((np.asarray(a, np.float64) - b) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(peak**2 / error)


def assert_same_image(found: Frame, expected: Frame) -> None:
    """Colour, alpha and depth agree to 90 dB; single pixels may flip at the threshold of alpha."""
    assert np.isfinite(found.rgb).all()
    assert psnr(found.rgb, expected.rgb) > ENOUGH_DB
    assert psnr(found.alpha, expected.alpha) > ENOUGH_DB
    assert psnr(found.depth, expected.depth, peak=max(float(expected.depth.max()), 1.0)) > ENOUGH_DB
