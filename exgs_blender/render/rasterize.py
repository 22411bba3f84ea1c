# SPDX-License-Identifier: GPL-3.0-or-later
"""One call that renders Gaussians, whichever rasterizer this machine has."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Callable, Iterator

from ..cameras import Cameras
from ..errors import ExgsError, MissingDependencyError
from ..progress import Report, silent, track
from ..splats import Scene
from .frame import Backend, BackendChoice, Frame, RasterizeMode
from .prepared import PreparedScene, prepare
from .view import View, view_of

NO_DEVICE = "no CUDA device"
CUDA_DRIVERS = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}
"""The library that torch itself loads to find a device."""
Render = Callable[[PreparedScene, View, RasterizeMode, "int | None"], Frame]


def rasterize(
    scene: Scene | PreparedScene,
    cameras: Cameras,
    index: int = 0,
    *,
    backend: BackendChoice = "auto",
    rasterize_mode: RasterizeMode = "classic",
    threads: int | None = None,
) -> Frame:
    """Render view ``index`` of ``cameras``.

    Args:
        scene: a cloud, an object or several objects, which are sorted together; or what ``prepare`` made of them, which
            saves about the time of a frame where a scene is rendered again and again.
        backend: "auto" takes gsplat where there is a CUDA device, else the CPU.
        rasterize_mode: "antialiased" lowers the opacity of splats that the low-pass filter widens (Mip-Splatting).
        threads: at most so many CPU threads; None for all that numba has.

    Raises:
        ExgsError: no such view, or an object's matrix cannot be used.
        MissingDependencyError: the chosen backend's package is missing.
    """
    render, chosen = _renderer(backend)
    return _named(render(_prepared(scene), view_of(cameras, index), _checked(rasterize_mode), threads), chosen)


def rasterize_all(
    scene: Scene | PreparedScene,
    cameras: Cameras,
    *,
    backend: BackendChoice = "auto",
    rasterize_mode: RasterizeMode = "classic",
    threads: int | None = None,
    report: Report = silent,
) -> Iterator[Frame]:
    """Render every view in order, one frame at a time; what does not depend on the view is done once.

    Arguments and errors as for :func:`rasterize`.
    """
    render, chosen = _renderer(backend)
    mode = _checked(rasterize_mode)
    prepared = _prepared(scene)
    for index in track(range(len(cameras)), "rendering", report):
        yield _named(render(prepared, view_of(cameras, index), mode, threads), chosen)


def choose_backend(choice: BackendChoice = "auto") -> Backend:
    """Which backend ``choice`` runs on this machine, and why.

    Raises:
        ExgsError: there is no such choice, or gsplat was asked for and cannot run.
        MissingDependencyError: the chosen backend's package is missing.
    """
    if choice == "reference":
        return Backend("reference", "asked for; slow, for tests")
    if choice not in ("auto", "gsplat", "cpu"):
        raise ExgsError(f"backend is '{choice}', expected one of auto, gsplat, cpu, reference")
    obstacle = "" if choice == "cpu" else gsplat_obstacle()
    if choice != "cpu" and not obstacle:
        return Backend("gsplat", "CUDA device and gsplat are there")
    if choice == "gsplat":
        raise ExgsError(f"the gsplat backend cannot run: {obstacle}; use backend 'auto' or 'cpu'")
    if importlib.util.find_spec("numba") is None:
        raise MissingDependencyError("numba", "rendering on the CPU")
    return Backend("cpu", obstacle or "asked for")


def gsplat_obstacle() -> str:
    """Why gsplat cannot run here, or an empty string."""
    for package in ("torch", "gsplat"):
        if importlib.util.find_spec(package) is None:
            return f"{package} not installed"
    if not _cuda_driver():
        return NO_DEVICE
    import torch

    return "" if torch.cuda.is_available() else NO_DEVICE


def _cuda_driver() -> bool:
    """Whether NVIDIA's driver loads. Without it torch has no device, and to ask torch takes seconds and 140 MB of memory."""
    name = CUDA_DRIVERS.get(sys.platform)
    try:
        return name is not None and bool(ctypes.CDLL(name))
    except OSError:
        return False


def _renderer(choice: BackendChoice) -> tuple[Render, Backend]:
    chosen = choose_backend(choice)
    if chosen.name == "gsplat":
        from . import gsplat_backend

        return gsplat_backend.render, chosen
    if chosen.name == "reference":
        from . import reference

        return reference.render, chosen
    from . import cpu_backend

    return cpu_backend.render, chosen


def _prepared(scene: Scene | PreparedScene) -> PreparedScene:
    return scene if isinstance(scene, PreparedScene) else prepare(scene)


def _checked(mode: RasterizeMode) -> RasterizeMode:
    if mode not in ("classic", "antialiased"):
        raise ExgsError(f"rasterize_mode is '{mode}', expected classic or antialiased")
    return mode


def _named(frame: Frame, chosen: Backend) -> Frame:
    """The frame with the reason for the choice in front of what the backend says about itself."""
    return Frame(frame.rgb, frame.alpha, frame.depth, Backend(chosen.name, f"{chosen.reason}; {frame.backend.reason}"))
