# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a frame takes, and on what."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import numpy as np

from exgs_blender.painter import Painter
from exgs_blender.painter.basis import COUNT
from exgs_blender.render.frame import Backend, Frame
from exgs_blender.ugc.guidance import Guidance

SIZES = {"512 x 512": (512, 512), "1920 x 1080": (1080, 1920)}


def speed(painter: Painter) -> dict[str, tuple[float, float]]:
    """(Milliseconds of the clock, CPU-milliseconds of this process) per frame, the least of three after one to warm up."""
    found = {}
    rng = np.random.default_rng(0)
    mix = Guidance(True, tuple(rng.normal(0, 0.1, COUNT)), painter.identity).text()
    for label, (height, width) in SIZES.items():
        alpha = np.ones((height, width), np.float32)
        frame = Frame(rng.random((height, width, 3), np.float32), alpha, alpha, Backend("none", "noise"))
        for way, guidance in (("blind", ""), ("fitted", mix)):
            times = []
            for _ in range(4):
                wall, cpu = time.perf_counter(), time.process_time()
                painter.restore(frame, 0.1, guidance=guidance)
                times.append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
            clock, used = zip(*times[1:], strict=True)
            found[f"{label}, {way}"] = min(clock), min(used)
    return found


def device_name(painter: Painter) -> str:
    """What the frames were restored on."""
    import torch

    if painter.pipeline.device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, {painter.precision}"
    model = next((x.split(":")[1].strip() for x in _cpu_info() if x.startswith("model name")), platform.processor())
    features = " ".join(
        sorted({f for x in _cpu_info() if x.startswith("flags") for f in x.split() if f in ("avx2", "avx512f", "amx_tile")})
    )
    return f"{model} ({features}), {torch.get_num_threads()} of {os.cpu_count()} threads, shared with other work, {painter.precision}"


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
