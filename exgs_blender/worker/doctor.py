# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs here, on which backend, and what to do if not: ``exgs doctor``, and the button in the add-on's preferences.

The module itself needs the standard library only, so that it can tell what is missing.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import ExgsError
from ..progress import Report, silent
from .environment import INSTALL_HINT, Health, examine

HINTS = {
    "gsplat": "only CUDA devices use it; without it frames are rendered on the CPU",
    "pxr": "OpenUSD: only reading and writing USD needs it (pip install usd-core)",
    "bpy": "only the demo and the tests use it; inside Blender it is not needed",
}
Check = tuple[str, bool, str]


def doctor(report: Report = silent) -> dict[str, Any]:
    """Look, and try for real. ``lines`` are for a person; ``healthy``: everything that is required works."""
    report("looking at the packages", 0.0)
    health = examine()
    lines = [f"Python      {health.python}", f"System      {health.platform}, {health.cpu_count} CPU cores", f"CUDA        {health.cuda}"]
    for package in health.packages:
        note = "" if package.version else ("MISSING: install it into this environment" if package.required else HINTS.get(package.name, ""))
        lines.append(f"{package.name:<11} {package.version or 'not installed'}{'  - ' + note if note else ''}")
    checks: list[Check] = []
    if not health.missing:
        report("rendering", 0.1)
        checks.append(_tried("rasterizer", _rasterizer))
        report("compressing (the first time it is compiled, which takes a minute or two)", 0.2)
        checks.append(_tried("compression", _compression))
        report("loading GaussPainter", 0.8)
        checks.append(_tried("painter", _painter))
    lines += [f"{name:<11} {'works' if works else 'FAILS'}: {words}" for name, works, words in checks]
    healthy = not health.missing and all(works for _, works, _ in checks)
    lines.append("Everything works." if healthy else f"Not everything works{_advice(health, checks)}.")
    report("done", 1.0)
    return {**json.loads(health.to_json()), "checks": [list(check) for check in checks], "healthy": healthy, "lines": lines}


def _advice(health: Health, checks: list[Check]) -> str:
    if health.missing:
        return f": missing {', '.join(health.missing)}; {INSTALL_HINT}"
    if any(not works and "gsplat" in words for _, works, words in checks):
        return (
            ": gsplat builds its kernels with NVIDIA's CUDA toolkit and a C++ compiler; install both, or remove gsplat to render on the CPU"
        )
    return "; the lines above name the cause"


def _tried(name: str, function: Any) -> Check:
    """A check that cannot take the others down with it."""
    try:
        works, words = function()
    except Exception as error:  # a broken package may raise anything; the doctor is there to tell
        return name, False, " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return name, works, words


def _rasterizer() -> tuple[bool, str]:
    """Render one Gaussian for real."""
    import numpy as np

    from ..cameras.trajectories import Extent, orbit
    from ..render.rasterize import rasterize
    from ..splats import Gaussians

    one = np.ones((1, 3), np.float32)
    identity, opaque = np.eye(4, dtype=np.float32)[:1], np.full(1, 3.0, np.float32)
    cloud = Gaussians(0 * one, identity, -one, opaque, one[:, None], np.zeros((1, 0, 3), np.float32))
    try:
        views = orbit(Extent(np.zeros(3), 1.0, np.array([0.0, -1.0, 0.0])), 1, width=32, height=32)
        frame = rasterize(cloud, views)
    except ExgsError as error:
        return False, str(error)
    return bool(frame.alpha.max() > 0.5), f"{frame.backend.name} ({frame.backend.reason})"


def _compression() -> tuple[bool, str]:
    """Compress a small cloud for real; all that is compiled on first use is compiled then."""
    from .warm_up import warm_up

    trial = warm_up()
    return True, f"{trial.splats} splats to {trial.bytes} bytes; tried in {trial.seconds:.0f} s"


def _painter() -> tuple[bool, str]:
    """Load the checkpoint in the package."""
    from ..painter.restore import Painter, default_weights

    try:
        painter = Painter.load()
    except ExgsError as error:
        return False, str(error)
    return True, f"checkpoint {default_weights().name} on {painter.pipeline.device.type}, {painter.precision}"
