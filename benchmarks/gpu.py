# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that waits for a CUDA device, in one command that fits ten minutes and goes on where it stopped.

    python benchmarks/gpu.py --output FOLDER [--pairs FOLDER | --made FOLDER] [--work FOLDER] [--start FOLDER] [--seconds 540] [--dry-run]
    python benchmarks/gpu.py --output FOLDER --unpack WORK/full        (on any machine: a state for train_painter.py export)

1. builds gsplat's kernels (``TORCH_EXTENSIONS_DIR`` keeps them in the work folder);
2. proves that gsplat's frames equal the CPU rasterizer's (PSNR of colour, alpha, depth on made-up clouds);
3. times both on a cloud of a million Gaussians at 1080p;
4. times the packaged GaussPainter at 512 x 512 and 1080p;
5. makes the training pairs of packed scenes, a process for each core (with ``--made``; those that are there are not made again);
6. trains the full-size GaussPainter on them for the time that is left, with checkpoints, in bfloat16;
7. times what was trained, likewise.

``--work`` (default: ``benchmarks/out/gpu``) stays on the machine: kernels, results, the state of the training. The same command
goes on from there: steps 1 to 4 are not repeated on the same device, training resumes exactly. ``--output`` is what to bring home,
also when the command is cut off after a step: at most 7 files of less than 16 MiB, 40 MB together (``gpu.json``, the curves, the averaged
weights in float16 in pieces). A machine without the work folder goes on from those pieces with ``--start``: with new moments of the
optimiser, but at the same step. ``--dry-run`` walks the same way on the CPU with a tiny model and small sizes. ``--pairs`` is a folder
of ready pairs (``train_painter.py pairs``), ``--made`` one of scenes small enough to travel (``train_painter.py pack``); without either
steps 5 to 7 are left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

import numpy as np

from exgs_blender.cameras.trajectories import extent_of, turntable
from exgs_blender.render.rasterize import choose_backend, rasterize
from exgs_blender.splats import Gaussians

Step = Callable[[argparse.Namespace], dict[str, Any]]
ROOT = Path(__file__).resolve().parents[1]
HELD_OUT = ("guitar", "made-05", "biker", "snowmiku")
"""What train_painter.py validates on, and what it holds back altogether."""
RESERVED = 60.0
"""Seconds that the last validation, the timing and writing may take after training."""


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
    facts = {"device": device_name(), "torch": torch.__version__, "python": platform.python_version(), "backend": choose_backend().name}
    return {**facts, "dry_run": options.dry_run}


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


def painter_speed(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of the checkpoint in the package."""
    from exgs_blender.painter import default_weights

    return time_painter(default_weights(), options)


def time_painter(checkpoint: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a frame, the least of several: whole (arrays in, arrays out), and the pipeline alone on the device."""
    import torch

    from exgs_blender.painter import Painter
    from exgs_blender.painter.denoiser import parameter_count
    from exgs_blender.render.frame import Backend, Frame

    painter = Painter.load(checkpoint, "cpu" if options.dry_run else "cuda")
    rng = np.random.default_rng(0)
    parameters = parameter_count(painter.pipeline.unet) + parameter_count(painter.pipeline.vae)
    results: dict[str, Any] = {"device": device_name(), "precision": painter.precision, "parameters": parameters}
    for name, (height, width) in {"512x512": (512, 512), "1920x1080": (1080, 1920)}.items():
        if options.dry_run:
            height, width = height // 8, width // 8
        alpha = np.ones((height, width), np.float32)
        frame = Frame(rng.random((height, width, 3), np.float32), alpha, alpha, Backend("none", "noise"))
        planes = [torch.from_numpy(a)[None].to(painter.pipeline.device) for a in (frame.rgb.transpose(2, 0, 1), alpha[None], alpha[None])]
        whole = least_ms(lambda frame=frame: painter.restore(frame, 0.05))
        alone = least_ms(lambda planes=planes: painter.pipeline(*planes, 0.05))
        results[name] = {"size": [width, height], "restore_ms": whole, "pipeline_ms": alone}
    return results


def least_ms(work: Callable[[], object]) -> float:
    """The least of five runs after two to warm up."""
    import torch

    times = []
    for _ in range(7):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return round(min(times[2:]) * 1e3, 2)


def pairing(options: argparse.Namespace) -> dict[str, Any]:
    """Pairs of all packed scenes, side by side."""
    from train_painter import made_names, make_pairs_of

    names = made_names(options.made)
    spawn = multiprocessing.get_context("spawn")  # this process uses CUDA already
    alone = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with children_find(alone), ProcessPoolExecutor(min(len(names), os.cpu_count() or 1), spawn) as pool:
        list(pool.map(make_pairs_of, repeat(options.work), repeat(options.made), names))
    options.pairs = options.work / "pairs"
    return {"scenes": names}


@contextmanager
def children_find(values: dict[str, str]) -> Iterator[None]:
    """Processes that are started inside have these environment variables."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def training(options: argparse.Namespace) -> dict[str, Any]:
    """Train on the pairs for the time that is left, and bring home what there is; goes on from WORK/full, or from --start."""
    from exgs_blender.painter.checkpoint import STATE
    from exgs_blender.painter.pieces import state_from_pieces, write_pieces
    from exgs_blender.painter.train import TrainSettings, train

    folders = tuple(sorted(path.parent for path in options.pairs.glob("*/pairs.json")))
    held = tuple(folder for folder in folders if folder.name.startswith(tuple(options.held_out)))
    preset: Literal["tiny", "full"] = "tiny" if options.dry_run else "full"
    run = options.work / preset
    if options.start_from and not (run / STATE).is_file():
        state_from_pieces(options.start_from, run)
    before = steps_done(run)
    left = options.seconds - (time.perf_counter() - options.started)
    settings = TrainSettings(
        pairs=tuple(folder for folder in folders if folder not in held),
        validation=held,
        out=run,
        preset=preset,
        steps=options.steps,
        batch=2 if options.dry_run else 32,
        crop=32 if options.dry_run else 256,
        validate_every=1 if options.dry_run else 2000,
        checkpoint_every=1 if options.dry_run else 500,
        device="cpu" if options.dry_run else "cuda",
        time_limit=max(left - RESERVED, 1e-3),
        workers=0 if options.dry_run else 12,
    )
    model = train(settings)
    pieces = write_pieces(run, settings.preset, options.output)
    for name in ("curves.csv", "validation.csv"):
        if (run / name).is_file():
            shutil.copyfile(run / name, options.output / name)
    return {
        "preset": settings.preset,
        "steps_before": before,
        "steps": steps_done(run),
        "of": settings.steps,
        "pieces": {path.name: path.stat().st_size for path in pieces},
        "pairs": [folder.name for folder in settings.pairs],
        "held_out": [folder.name for folder in held],
        "speed": time_painter(model, options),
    }


def steps_done(run: Path) -> int:
    """Of the state in a folder."""
    from safetensors import safe_open

    from exgs_blender.painter.checkpoint import STATE

    if not (run / STATE).is_file():
        return 0
    with safe_open(run / STATE, framework="pt") as file:
        return int(file.metadata()["step"])


def device_name() -> str:
    """Of the card, or of the processor where there is none."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else torch.cpu.get_capabilities().get("cpu_name", platform.machine())


def earlier(options: argparse.Namespace) -> dict[str, Any]:
    """Results of an earlier command on this device that need no repetition."""
    path = options.work / "gpu.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    same = found.get("device", {}).get("device") == device_name() and found["device"]["dry_run"] == options.dry_run
    return {name: found[name] for name in ("device", "parity", "speed", "painter_speed") if name in found} if same else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="what to bring home")
    parser.add_argument("--work", type=Path, default=ROOT / "benchmarks" / "out" / "gpu", help="what stays, to go on from")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--pairs", type=Path)
    source.add_argument("--made", type=Path)
    parser.add_argument("--start", type=Path, dest="start_from", help="pieces that an earlier machine brought home")
    parser.add_argument("--unpack", type=Path, metavar="RUN", help="only make a state there of the pieces in --output")
    parser.add_argument(
        "--held-out", nargs="*", default=HELD_OUT, help="scenes (folder prefixes) never trained on; the curves look at them"
    )
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    if options.unpack:
        from exgs_blender.painter.pieces import state_from_pieces

        print(f"{options.unpack}: step {state_from_pieces(options.output, options.unpack):,}")
        return 0
    options.started = time.perf_counter()
    options.output, options.work = options.output.resolve(), options.work.resolve()
    for folder in (options.output, options.work):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(options.work / "extensions"))
    steps: dict[str, Step] = {"device": device_facts, "parity": parity, "speed": speed, "painter_speed": painter_speed}
    if options.made:
        steps["pairing"] = pairing
    if options.pairs or options.made:
        steps["training"] = training
    results = earlier(options)
    for name in [name for name in steps if name not in results]:
        start = time.perf_counter()
        results[name] = {**steps[name](options), "seconds": round(time.perf_counter() - start, 1)}
        print(name, json.dumps(results[name])[:600], flush=True)
        for folder in (options.output, options.work):
            (folder / "gpu.json").write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
