# SPDX-License-Identifier: GPL-3.0-or-later
"""What restoration does to frames of pruned scenes: PSNR, SSIM and the worst frame, and how long a frame takes.

    python benchmarks/painter.py [--scenes biker snowmiku-trained] [--weights FOLDER] [--record] [--pictures FOLDER]

Each scene is pruned by the product's compressor (merging and rounding) to 10 %, 4 % and 1 % of its Gaussians and rendered from
views that neither scored it nor trained the painter; the truth is the unpruned render. Prints a table and writes
``benchmarks/out/painter.json``; ``--record`` also writes ``benchmarks/results/painter.json`` and ``.md``. The scenes lie in
``EXGS_DATA`` (default ``../shared/data`` beside the repository).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from exgs_blender.cameras import Cameras, read_cameras
from exgs_blender.evaluate.held_out import held_out_views, training_views
from exgs_blender.evaluate.metrics import judged, psnr, ssim
from exgs_blender.formats import registry
from exgs_blender.painter import Painter, default_weights
from exgs_blender.painter.degrade import Compressor
from exgs_blender.progress import silent
from exgs_blender.render.frame import Backend, Frame
from exgs_blender.render.rasterize import rasterize_all
from exgs_blender.splats import Gaussians

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("EXGS_DATA", ROOT.parent / "shared" / "data"))
HELD_OUT = ("biker", "snowmiku-trained")
FILES = {"biker": "biker.spz", "guitar": "guitar.compressed.ply", "playbot": "playbot/0_0"}
KEEP_RATIOS = (0.1, 0.04, 0.01)
SIZES = {"512 x 512": (512, 512), "1920 x 1080": (1080, 1920)}


@dataclass(frozen=True)
class Row:
    """One scene at one keep ratio; means over the views, dB over black, deltas restored minus unrestored."""

    scene: str
    held_out: bool
    keep: float
    views: int
    psnr: float
    psnr_restored: float
    worst_delta: float
    ssim: float
    ssim_restored: float
    worst_delta_ssim: float
    alpha_psnr: float
    alpha_psnr_restored: float


def load(name: str) -> tuple[Gaussians, Cameras, Cameras]:
    """(scene, views to score with, views to judge on), which share no view."""
    folder = DATA / "scenes"
    if name in FILES:
        scene = registry.read(folder / FILES[name])
        return scene, training_views(scene), held_out_views(scene, count=8)
    scene, cameras = registry.read(folder / name / "point_cloud.ply"), read_cameras(folder / name / "cameras.json")
    return scene, training_views(scene, cameras), held_out_views(scene, cameras, count=13)


def measure(name: str, painter: Painter, pictures: Path | None) -> list[Row]:
    """The rows of one scene; the last one, at keep ratio 1, shows what happens to a frame without faults."""
    scene, scoring, judging = load(name)
    truth = list(rasterize_all(scene, judging))
    prune = Compressor("merge")
    rows = []
    for keep in (*KEEP_RATIOS, 1.0):
        frames = truth if keep == 1.0 else list(rasterize_all(prune(scene, scoring, keep, silent), judging))
        restored = [painter.restore(frame, keep) for frame in frames]
        rows.append(compare(name, keep, truth, frames, restored))
        if pictures and keep < 1:
            for i in (0, len(frames) // 2):
                save_strip(pictures / f"{name}-{100 * keep:g}-{i}.png", (frames[i], restored[i], truth[i]))
        print(line(rows[-1]), flush=True)
    return rows


def compare(name: str, keep: float, truth: list[Frame], before: list[Frame], after: list[Frame]) -> Row:
    def scores(frames: list[Frame], score: Callable[[np.ndarray, np.ndarray], float]) -> np.ndarray:
        return np.array([score(judged(f.rgb), judged(t.rgb)) for f, t in zip(frames, truth, strict=True)])

    def coverage(frames: list[Frame]) -> float:
        return float(np.mean([psnr(f.alpha, t.alpha) for f, t in zip(frames, truth, strict=True)]))

    p0, p1, s0, s1 = scores(before, psnr), scores(after, psnr), scores(before, ssim), scores(after, ssim)
    return Row(
        scene=name,
        held_out=name in HELD_OUT,
        keep=keep,
        views=len(truth),
        psnr=float(p0.mean()),
        psnr_restored=float(p1.mean()),
        worst_delta=float((p1 - p0).min()),
        ssim=float(s0.mean()),
        ssim_restored=float(s1.mean()),
        worst_delta_ssim=float((s1 - s0).min()),
        alpha_psnr=coverage(before),
        alpha_psnr_restored=coverage(after),
    )


def speed(painter: Painter) -> dict[str, float]:
    """Milliseconds per frame, the least of three after one to warm up."""
    found = {}
    rng = np.random.default_rng(0)
    for label, (height, width) in SIZES.items():
        alpha = np.ones((height, width), np.float32)
        frame = Frame(rng.random((height, width, 3), np.float32), alpha, alpha, Backend("none", "noise"))
        times = []
        for _ in range(4):
            start = time.perf_counter()
            painter.restore(frame, 0.1)
            times.append(1000 * (time.perf_counter() - start))
        found[label] = min(times[1:])
    return found


def device_name(painter: Painter) -> str:
    """What the frames were restored on."""
    import torch

    if painter.pipeline.device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, {painter.precision}"
    model = next((x.split(":")[1].strip() for x in cpu_info() if x.startswith("model name")), platform.processor())
    features = " ".join(sorted({f for x in cpu_info() if x.startswith("flags") for f in x.split() if f in ("avx2", "avx512f", "amx_tile")}))
    return f"{model} ({features}), {torch.get_num_threads()} of {os.cpu_count()} threads, shared with other work, {painter.precision}"


def cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def line(row: Row) -> str:
    tag = "held out" if row.held_out else "seen"
    gain = row.psnr_restored - row.psnr
    return (
        f"| {row.scene} ({tag}) | {100 * row.keep:g} % | {row.views} | {row.psnr:.2f} | {row.psnr_restored:.2f} | {gain:+.2f} "
        f"| {row.worst_delta:+.2f} | {row.ssim:.4f} | {row.ssim_restored:.4f} | {row.alpha_psnr:.1f} | {row.alpha_psnr_restored:.1f} |"
    )


HEADER = """| scene | keep | views | PSNR | restored | gain | worst frame | SSIM | restored | alpha PSNR | restored |
|---|---|---|---|---|---|---|---|---|---|---|"""


def table(rows: list[Row], times: dict[str, float], device: str) -> str:
    lines = ["# GaussPainter: frames of pruned scenes before and after restoration", ""]
    lines += [
        "Made by `python benchmarks/painter.py --record`. PSNR in dB against the unpruned render, over black; means over views that",
        "",
    ]
    lines[-1:] = ["neither scored the pruning nor trained the painter. Held-out scenes were never trained, tuned or stopped on.", ""]
    lines += [HEADER, *(line(row) for row in rows), "", f"Milliseconds per frame on {device}:", ""]
    lines += [f"- {label}: {ms:.0f} ms" for label, ms in times.items()]
    return "\n".join(lines) + "\n"


def save_strip(path: Path, frames: tuple[Frame, ...]) -> None:
    """Frames side by side over black."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    strip = np.concatenate([judged(frame.rgb) for frame in frames], axis=1)
    Image.fromarray(np.rint(strip * 255).astype(np.uint8)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="*", default=list(HELD_OUT))
    parser.add_argument("--weights", type=Path, default=default_weights())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    painter = Painter.load(args.weights, args.device)
    print(HEADER)
    rows = [row for name in args.scenes for row in measure(name, painter, args.pictures)]
    times, device = speed(painter), device_name(painter)
    print("\n".join(f"{label}: {ms:.0f} ms on {device}" for label, ms in times.items()))
    result = {"rows": [asdict(row) for row in rows], "milliseconds": times, "device": device}
    for folder in [ROOT / "benchmarks" / "out"] + ([ROOT / "benchmarks" / "results"] if args.record else []):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "painter.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        if folder.name == "results":
            (folder / "painter.md").write_text(table(rows, times, device), encoding="utf-8")


if __name__ == "__main__":
    main()
