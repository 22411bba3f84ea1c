# SPDX-License-Identifier: GPL-3.0-or-later
"""``exgs doctor``: what runs here, on which backend, and what to do if not."""

from __future__ import annotations

import json
from typing import Any

from ..errors import ExgsError
from ..worker.environment import Health, examine

HINTS = {
    "gsplat": "only CUDA devices use it; without it frames are rendered on the CPU",
    "pxr": "OpenUSD: only reading and writing USD needs it (pip install usd-core)",
    "bpy": "only the demo and the tests use it; inside Blender it is not needed",
}


def doctor() -> tuple[dict[str, Any], list[str], bool]:
    """(values for a program, lines for a person, whether everything that is required works)."""
    health = examine()
    lines = [f"Python      {health.python}", f"System      {health.platform}, {health.cpu_count} CPU cores", f"CUDA        {health.cuda}"]
    for package in health.packages:
        note = "" if package.version else ("MISSING: install it into this environment" if package.required else HINTS.get(package.name, ""))
        lines.append(f"{package.name:<11} {package.version or 'not installed'}{'  - ' + note if note else ''}")
    checks = [] if health.missing else [_rasterizer(), _painter()]
    lines += [f"{name:<11} {'works' if works else 'FAILS'}: {words}" for name, works, words in checks]
    healthy = not health.missing and all(works for _, works, _ in checks)
    lines.append("Everything works." if healthy else f"Not everything works{_missing_words(health)}.")
    values = {**json.loads(health.to_json()), "checks": [list(check) for check in checks], "healthy": healthy}
    return values, lines, healthy


def _missing_words(health: Health) -> str:
    if not health.missing:
        return ""
    return f": missing {', '.join(health.missing)}; run 'python3.11 run.py setup' in the ExGS folder"


def _rasterizer() -> tuple[str, bool, str]:
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
        return "rasterizer", False, str(error)
    return "rasterizer", bool(frame.alpha.max() > 0.5), f"{frame.backend.name} ({frame.backend.reason})"


def _painter() -> tuple[str, bool, str]:
    """Load the checkpoint in the package."""
    from ..painter.restore import Painter, default_weights

    try:
        Painter.load()
    except ExgsError as error:
        return "painter", False, str(error)
    return "painter", True, f"checkpoint {default_weights().name}"
