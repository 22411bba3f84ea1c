# SPDX-License-Identifier: GPL-3.0-or-later
"""What is handed to gsplat; the call itself needs a CUDA device."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from exgs_blender.render import gsplat_backend, reference
from exgs_blender.render.prepared import prepare
from exgs_blender.render.rasterize import rasterize
from exgs_blender.render.view import view_of
from exgs_blender.splats import SplatObject
from tests.clouds import random_gaussians

from .views import around, psnr

torch = pytest.importorskip("torch")
gsplat = pytest.importorskip("gsplat")


@pytest.mark.parametrize("ortho", [False, True], ids=["pinhole", "ortho"])
def test_arguments(ortho: bool) -> None:
    first, second = random_gaussians(40, 3, seed=1), random_gaussians(30, 1, seed=2)
    matrix = np.diag([1.0, -2.0, 0.5, 1.0])
    scene = prepare([SplatObject(first, matrix), SplatObject(second)])
    view = view_of(around(first, ortho=ortho), 1)
    cpu = torch.device("cpu")
    arguments = {**gsplat_backend.scene_arguments(scene, cpu), **gsplat_backend.view_arguments(view, "classic", cpu)}
    arguments["colors"] = gsplat_backend.colours(scene, view, cpu)
    assert set(arguments) <= set(inspect.signature(gsplat.rasterization).parameters)
    assert np.abs(arguments["colors"].numpy() - reference.colours(scene, view)).max() < 1e-4
    assert arguments["covars"].shape == (70, 3, 3)
    assert torch.equal(arguments["covars"], arguments["covars"].transpose(1, 2))
    variances = np.linalg.det(arguments["covars"][:40].double().numpy())
    assert variances == pytest.approx(np.exp(2 * first.scales.astype(np.float64).sum(axis=1)), rel=1e-2)
    assert arguments["camera_model"] == ("ortho" if ortho else "pinhole")
    for name in ("means", "covars", "opacities", "colors", "viewmats", "Ks"):
        assert arguments[name].dtype == torch.float32, name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_equals_cpu() -> None:
    cloud = random_gaussians(2000, 3, seed=3)
    cameras = around(cloud)
    a, b = rasterize(cloud, cameras, backend="gsplat"), rasterize(cloud, cameras, backend="cpu")
    assert psnr(a.rgb, b.rgb) > 60
    assert psnr(a.alpha, b.alpha) > 60
