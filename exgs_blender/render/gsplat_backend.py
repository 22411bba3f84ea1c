# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasterizer on a CUDA device: gsplat 1.5.3 with covariances and colours that are made here.

The first call on a machine builds gsplat's kernels with the CUDA toolkit, which takes minutes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..splats.ellipsoids import UPPER
from . import constants
from .frame import Backend, Frame, RasterizeMode
from .prepared import PreparedScene
from .view import View

_resident: dict[int, tuple[PreparedScene, dict[str, Any]]] = {}
"""The scene of the last call on the device, by identity, so that a sequence uploads it once."""


def render(scene: PreparedScene, view: View, mode: RasterizeMode, threads: int | None = None) -> Frame:
    """One view on the first CUDA device; ``threads`` is ignored."""
    import gsplat
    import torch

    device = torch.device("cuda")
    arguments = {**_scene_on(scene, device), **view_arguments(view, mode, device)}
    arguments["colors"] = colours(scene, view, device)
    image, alpha, _ = gsplat.rasterization(**arguments)
    image, alpha = image[0].float().cpu().numpy(), alpha[0, ..., 0].float().cpu().numpy()
    name = torch.cuda.get_device_name(device)
    return Frame(np.ascontiguousarray(image[..., :3]), alpha, np.ascontiguousarray(image[..., 3]), Backend("gsplat", name))


def scene_arguments(scene: PreparedScene, device: Any) -> dict[str, Any]:
    """What ``gsplat.rasterization`` takes of a scene; quaternions and scales are unused beside ``covars``."""
    import torch

    covars = np.empty((len(scene), 3, 3), np.float32)
    for value, (i, j) in enumerate(UPPER):
        covars[:, i, j] = covars[:, j, i] = scene.covars[:, value]
    return {
        "means": torch.as_tensor(scene.means, device=device),
        "quats": None,
        "scales": None,
        "covars": torch.as_tensor(covars, device=device),
        "opacities": torch.as_tensor(scene.opacities, device=device),
    }


def view_arguments(view: View, mode: RasterizeMode, device: Any) -> dict[str, Any]:
    """What ``gsplat.rasterization`` takes of a view."""
    import torch

    def tensor(array: NDArray[np.float64]) -> Any:
        return torch.as_tensor(array[None].astype(np.float32), device=device)

    return {
        "viewmats": tensor(view.viewmat),
        "Ks": tensor(view.K),
        "width": view.width,
        "height": view.height,
        "near_plane": view.near,
        "far_plane": view.far,
        "eps2d": constants.EPS2D,
        "render_mode": "RGB+ED",
        "rasterize_mode": mode,
        "camera_model": "ortho" if view.ortho else "pinhole",
        "packed": True,
    }


def colours(scene: PreparedScene, view: View, device: Any) -> Any:
    """[N, 3] max(SH + 0.5, 0) as a tensor: each object's harmonics in its own space, on the device."""
    import torch
    from gsplat.cuda._torch_impl import _eval_sh_bases_fast

    towards, offset = view.ray
    means = torch.as_tensor(scene.means, device=device)
    parts = [torch.zeros((0, 3), device=device)]
    for part in scene.parts:
        linear = torch.as_tensor(part.object_from_world[:3, :3].astype(np.float32), device=device)
        rays = towards * means[part.start : part.stop] + torch.as_tensor(offset.astype(np.float32), device=device)
        rays = torch.nn.functional.normalize(rays @ linear.T, dim=-1)
        sh = torch.as_tensor(part.sh, device=device)
        basis = _eval_sh_bases_fast(sh.shape[1], rays)
        parts.append(torch.einsum("nk,nkc->nc", basis, sh) + 0.5)
    return torch.cat(parts).clamp_min(0)


def _scene_on(scene: PreparedScene, device: Any) -> dict[str, Any]:
    if id(scene) not in _resident:
        _resident.clear()
        _resident[id(scene)] = (scene, scene_arguments(scene, device))
    return _resident[id(scene)][1]
