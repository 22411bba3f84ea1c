# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy job: a mesh of what a cloud shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exgs_blender.errors import ExgsError
from exgs_blender.formats import write
from exgs_blender.splats import Gaussians
from exgs_blender.worker.proxy import proxy
from tests.clouds import random_gaussians


def _ball() -> Gaussians:
    """Small opaque splats on a sphere of radius 2."""
    cloud = random_gaussians(4000, 0, seed=3)
    means = 2 * cloud.means / np.linalg.norm(cloud.means, axis=1, keepdims=True)
    return replace(cloud, means=means, scales=np.full_like(cloud.scales, np.log(0.05)), opacities=np.full_like(cloud.opacities, 5.0))


def test_a_ball(tmp_path: Path) -> None:
    write(tmp_path / "ball.ply", _ball())
    result = proxy(str(tmp_path / "ball.ply"), str(tmp_path / "surface.npz"), detail=48)
    with np.load(tmp_path / "surface.npz", allow_pickle=False) as arrays:
        vertices, quads = arrays["vertices"], arrays["quads"]
    assert (len(vertices), len(quads)) == (result["vertices"], result["quads"])
    seen = vertices[vertices[:, 1] < 0.5]  # up is -y: nobody looks from below
    radius = np.linalg.norm(seen, axis=1)
    assert abs(np.median(radius) - 2) < 0.1
    assert np.quantile(np.abs(radius - 2), 0.95) < 0.2
    assert quads.min() >= 0
    assert quads.max() < len(vertices)


def test_too_transparent(tmp_path: Path) -> None:
    ball = _ball()
    write(tmp_path / "glass.ply", replace(ball, opacities=np.full_like(ball.opacities, -6.0)))
    with pytest.raises(ExgsError, match="transparent"):
        proxy(str(tmp_path / "glass.ply"), str(tmp_path / "surface.npz"))
    assert not list(tmp_path.glob("*.npz"))
