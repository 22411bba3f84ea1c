# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that waits for a CUDA device, in one command that fits ten minutes and goes on where it stopped.

    python benchmarks/gpu.py --output FOLDER [--pairs FOLDER] [--seconds 540] [--dry-run]

1. builds gsplat's kernels (``TORCH_EXTENSIONS_DIR`` keeps them in the output folder);
2. proves that gsplat's frames equal the CPU rasterizer's (PSNR of colour, alpha, depth on made-up clouds);
3. times both on a cloud of a million Gaussians at 1080p;
4. trains the full-size GaussPainter on cached pairs for the time that is left, with checkpoints, in bfloat16.

Writes FOLDER/gpu.json after each step, so that a command that is cut off leaves what it had. ``--dry-run`` walks the same way
on the CPU with a tiny model and small sizes. Training pairs come from ``painter.pairs``; without ``--pairs`` step 4 is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from exgs_blender.cameras.trajectories import extent_of, turntable
from exgs_blender.render.rasterize import choose_backend, rasterize
from exgs_blender.splats import Gaussians

Step = Callable[[argparse.Namespace], dict[str, Any]]


def cloud(count: int, seed: int) -> Gaussians:
    """Made-up Gaussians of SH degree 3 in a ball, a few pixels wide from two radii away."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(count, 3))
    means *= (rng.uniform(size=(count, 1)) ** (1 / 3)) / np.linalg.norm(means, axis=1, keepdims=True)
    scales = np.log(0.6 / count ** (1 / 3)) + rng.normal(0, 0.4, (count, 3))
    sh0, rest = rng.normal(0, 0.8, (count, 1, 3)), rng.normal(0, 0.1, (count, 15, 3))
    return Gaussians(*(np.float32(a) for a in (means, rng.normal(size=(count, 4)), scales, rng.normal(0, 2, count), sh0, rest)))


def psnr(a: np.ndarray, b: np.ndarray, peak: float = 1.0) -> float:
    """dB; infinite for equal arrays."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(peak**2 / error))


def device_facts(options: argparse.Namespace) -> dict[str, Any]:
    """What this machine is, and which backend ``auto`` chooses."""
    import torch

    cuda = torch.cuda.is_available()
    if not cuda and not options.dry_run:
        raise SystemExit(f"no CUDA device: {choose_backend().reason}; use --dry-run to walk through on the CPU")
    name = torch.cuda.get_device_name(0) if cuda else "none"
    return {"device": name, "torch": torch.__version__, "python": platform.python_version(), "backend": choose_backend().name}


def parity(options: argparse.Namespace) -> dict[str, Any]:
    """PSNR between the backends; the first CUDA call builds gsplat."""
    backend = "reference" if options.dry_run else "gsplat"
    results = {}
    for count, degree in ((500 if options.dry_run else 20_000, 3),):
        gaussians = cloud(count, degree)
        size = (80, 60) if options.dry_run else (640, 480)
        cameras = turntable(extent_of(gaussians), 3, width=size[0], height=size[1])
        for mode in ("classic", "antialiased"):
            for index in range(3):
                fast = rasterize(gaussians, cameras, index, backend="cpu", rasterize_mode=mode)
                other = rasterize(gaussians, cameras, index, backend=backend, rasterize_mode=mode)
                results[f"{mode} view {index}"] = {
                    "rgb_db": psnr(fast.rgb, other.rgb),
                    "alpha_db": psnr(fast.alpha, other.alpha),
                    "depth_db": psnr(fast.depth, other.depth, float(fast.depth.max())),
                }
    worst = min(value for view in results.values() for value in view.values())
    return {"against": backend, "worst_db": worst, "views": results}


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a frame, median of several, gsplat beside the CPU in one run."""
    gaussians = cloud(2_000 if options.dry_run else 1_000_000, 1)
    cameras = turntable(extent_of(gaussians), 4, width=160 if options.dry_run else 1920, height=90 if options.dry_run else 1080)
    results: dict[str, Any] = {"gaussians": len(gaussians), "size": [int(cameras.widths[0]), int(cameras.heights[0])]}
    for backend in ("cpu",) if options.dry_run else ("cpu", "gsplat"):
        rasterize(gaussians, cameras, 0, backend=backend)
        times = []
        for index in range(4):
            start = time.perf_counter()
            rasterize(gaussians, cameras, index, backend=backend)
            times.append(time.perf_counter() - start)
        results[f"{backend}_ms"] = round(float(np.median(times)) * 1e3, 2)
    if "gsplat_ms" in results:
        results["ratio"] = round(results["cpu_ms"] / results["gsplat_ms"], 1)
    return results


def painter(options: argparse.Namespace) -> dict[str, Any]:
    """Train on the pairs for the time that is left; resumes from FOLDER/painter."""
    from exgs_blender.painter.train import TrainSettings, train

    folders = tuple(sorted(path.parent for path in options.pairs.glob("*/pairs.json")))
    held = tuple(folder for folder in folders if folder.name.startswith(tuple(options.held_out)))
    left = options.seconds - (time.perf_counter() - options.start)
    settings = TrainSettings(
        pairs=tuple(folder for folder in folders if folder not in held),
        validation=held,
        out=options.output / "painter",
        preset="tiny" if options.dry_run else "full",
        steps=2 if options.dry_run else options.steps,
        batch=2 if options.dry_run else 32,
        crop=32 if options.dry_run else 256,
        validate_every=1 if options.dry_run else 2000,
        checkpoint_every=1 if options.dry_run else 500,
        device="cpu" if options.dry_run else "cuda",
        time_limit=max(left - 30, 1),
        workers=0 if options.dry_run else 12,
    )
    model = train(settings)
    return {
        "model": str(model.relative_to(options.output)),
        "pairs": [folder.name for folder in folders],
        "held_out": [f.name for f in held],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--held-out", nargs="*", default=["biker", "snowmiku"], help="scenes (folder prefixes) never trained on")
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    options.start = time.perf_counter()
    options.output = options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(options.output / "extensions"))
    steps: dict[str, Step] = {"device": device_facts, "parity": parity, "speed": speed}
    if options.pairs:
        steps["painter"] = painter
    results: dict[str, Any] = {}
    for name, step in steps.items():
        start = time.perf_counter()
        results[name] = {**step(options), "seconds": round(time.perf_counter() - start, 1)}
        print(name, json.dumps(results[name])[:600], flush=True)
        (options.output / "gpu.json").write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
