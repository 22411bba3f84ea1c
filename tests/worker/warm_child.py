# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of its own: warms up, does an artist's first work, and prints as JSON which kernels that still had to compile."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from exgs_blender import formats
from exgs_blender.cameras import Cameras
from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.render.rasterize import rasterize
from exgs_blender.splats import Gaussians
from exgs_blender.worker.compression import compress
from exgs_blender.worker.warm_up import warm_up
from tests.clouds import random_gaussians


def _compiled() -> set[str]:
    """Kernels with the types that they are compiled for in this process, whether just now or from the cache on disk."""
    from numba.core.registry import CPUDispatcher

    modules = [module for name, module in list(sys.modules.items()) if name.startswith("exgs_blender.")]
    kernels = {kernel for module in modules for kernel in vars(module).values() if isinstance(kernel, CPUDispatcher)}
    return {f"{kernel.__module__}.{kernel.__name__}{signature}" for kernel in kernels for signature in kernel.signatures}


def _first_work(folder: Path) -> None:
    cloud = random_gaussians(2000, 3)
    views = orbit(extent_of(cloud), 3, width=64, height=48)
    for mode in ("classic", "antialiased"):
        rasterize(cloud, views, rasterize_mode=mode, backend="cpu")
    _compress(folder, cloud, ratio=10.0, cameras=views)
    _compress(folder, random_gaussians(700, 0), ratio=10.0, method="exgs")
    _compress(folder, random_gaussians(60_000, 2), preset="near-lossless")


def _compress(folder: Path, cloud: Gaussians, cameras: Cameras | None = None, **options: Any) -> None:
    from exgs_blender.cameras import write_cameras

    source, target, file = folder / "a.ply", folder / "a.exgs", folder / "views.json"
    formats.write(source, cloud)
    if cameras is not None:
        write_cameras(file, cameras)
        options |= {"cameras": str(file), "hold_out": False}
    compress(str(source), str(target), views=2, **options)
    formats.read(target)


def main() -> None:
    before = _compiled()
    warm_up()
    warm = _compiled()
    with tempfile.TemporaryDirectory() as folder:
        _first_work(Path(folder))
    print(json.dumps({"before": sorted(before), "warm": sorted(warm), "late": sorted(_compiled() - warm)}))


if __name__ == "__main__":
    main()
