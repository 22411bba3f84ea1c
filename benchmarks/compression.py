# SPDX-License-Identifier: GPL-3.0-or-later
"""Rate and distortion of the compressor: both methods over scenes and ratios, judged on views that were never scored.

    python benchmarks/compression.py [--scenes playbot snowmiku-trained] [--ratios 100 1000] [--methods merge exgs] [--record]
                                    [--pictures FOLDER]

A scene is a folder of ``EXGS_DATA/scenes`` (default ``../shared/data`` beside the repository) or any splat file. Scenes with
``cameras.json`` and ``cameras_test.json`` are scored on the former without the latter, and judged on the latter; others on
generated orbits. Prints a table and writes ``benchmarks/out/compression.json`` and ``.md``; ``--record`` also writes them to
``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from exgs_blender.cameras import Cameras, read_cameras
from exgs_blender.evaluate.compare import compare, render_error_for
from exgs_blender.evaluate.held_out import held_out_views, judging_size, scoring_views, training_views
from exgs_blender.evaluate.metrics import judged
from exgs_blender.formats import registry
from exgs_blender.render.contribution import blend_statistics
from exgs_blender.render.rasterize import rasterize
from exgs_blender.splats import BlendStatistics, Gaussians
from exgs_blender.ugc import CompressSettings, compress, decompress

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("EXGS_DATA", ROOT.parent / "shared" / "data"))
FILES = {"playbot": "playbot/0_0", "biker": "biker.compressed.ply", "guitar": "guitar.compressed.ply"}
SEARCH_VIEWS = 6
"""Of the scored views, how many measure the amplification."""


@dataclass(frozen=True)
class Row:
    """One file: what was asked, what came out, what it cost."""

    scene: str
    method: str
    ratio_wanted: float
    ratio: float
    bytes: int
    kept: int
    psnr: float
    ssim: float
    worst_psnr: float
    statistics_seconds: float
    encode_seconds: float
    decode_seconds: float
    peak_memory_mb: int
    bytes_per_gaussian: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", default=["playbot", "snowmiku-trained"])
    parser.add_argument("--ratios", nargs="+", type=float, default=[100.0, 1000.0])
    parser.add_argument("--methods", nargs="+", default=["merge", "exgs"])
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    rows = [row for scene in arguments.scenes for row in run_scene(scene, arguments.methods, arguments.ratios, arguments.pictures)]
    text = table(rows)
    print(text)
    data = json.dumps({"machine": f"{platform.machine()}, {os.cpu_count()} CPUs", "rows": [asdict(row) for row in rows]}, indent=1)
    for folder in [ROOT / "benchmarks" / "out", *([ROOT / "benchmarks" / "results"] if arguments.record else [])]:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "compression.json").write_text(data + "\n")
        (folder / "compression.md").write_text(text + "\n")


def run_scene(scene: str, methods: list[str], ratios: list[float], pictures: Path | None) -> list[Row]:
    cloud, train, judge = load(scene)
    start = time.perf_counter()
    statistics = blend_statistics(cloud, train)
    seconds = time.perf_counter() - start
    rows = []
    for ratio in ratios:
        images = [judged(rasterize(cloud, judge).rgb)]
        for method in methods:
            row, decoded = run_one(scene, cloud, statistics, seconds, train, judge, CompressSettings(ratio, method, source_name=scene))
            rows.append(row)
            images.append(judged(rasterize(decoded, judge).rgb))
            print(f"{scene} {method} {ratio:g}x: {row.psnr:.2f} dB", flush=True)
        if pictures:
            save_strip(pictures / f"{scene}_{ratio:g}x.png", images)
    return rows


def run_one(
    scene: str, cloud: Gaussians, statistics: BlendStatistics, seconds: float, train: Cameras, judge: Cameras, settings: CompressSettings
) -> tuple[Row, Gaussians]:
    start = time.perf_counter()
    search = train.select(np.linspace(0, len(train) - 1, min(SEARCH_VIEWS, len(train))).astype(int))
    error = render_error_for(cloud, search)
    result = compress(cloud, statistics, settings, render_error=error)
    encoded = time.perf_counter()
    asset = decompress(result.data)
    decoded = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    quality = compare(cloud, asset.gaussians, judge, candidate_bytes=len(result.data))
    row = Row(
        scene=scene,
        method=settings.method,
        ratio_wanted=settings.ratio,
        ratio=round(result.ratio, 2),
        bytes=len(result.data),
        kept=result.kept,
        psnr=round(quality.psnr, 2),
        ssim=round(quality.ssim, 4),
        worst_psnr=round(quality.worst_psnr, 2),
        statistics_seconds=round(seconds, 1),
        encode_seconds=round(encoded - start, 1),
        decode_seconds=round(decoded - encoded, 2),
        peak_memory_mb=peak,
        bytes_per_gaussian={name: round(size / result.kept, 2) for name, size in result.sections.items()},
    )
    return row, asset.gaussians


def load(scene: str) -> tuple[Gaussians, Cameras, Cameras]:
    """The cloud, the views that score it and the views that judge it."""
    folder = DATA / "scenes" / scene
    path = Path(scene) if Path(scene).exists() else DATA / "scenes" / FILES.get(scene, f"{scene}/point_cloud.ply")
    cloud = registry.read(path)
    if not (folder / "cameras_test.json").is_file():
        return cloud, training_views(cloud), held_out_views(cloud)
    cameras, judge = read_cameras(folder / "cameras.json"), read_cameras(folder / "cameras_test.json")
    left = [i for i, name in enumerate(cameras.names) if name not in set(judge.names)]
    return cloud, scoring_views(cameras.select(left)), judging_size(judge)


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    head = "| scene | method | ratio | bytes | kept | PSNR dB | SSIM | worst dB | statistics s | encode s | decode s | peak MB |"
    lines = [head, "|---" * 12 + "|"]
    for r in rows:
        lines.append(
            f"| {r.scene} | {r.method} | {r.ratio:.1f}x | {r.bytes:,} | {r.kept:,} | {r.psnr:.2f} | {r.ssim:.4f} | {r.worst_psnr:.2f} "
            f"| {r.statistics_seconds} | {r.encode_seconds} | {r.decode_seconds} | {r.peak_memory_mb} |"
        )
    lines += ["", "Bytes per Gaussian by section:", ""]
    lines += [f"- {r.scene} {r.method} {r.ratio_wanted:g}x: {', '.join(f'{k} {v}' for k, v in r.bytes_per_gaussian.items())}" for r in rows]
    return "\n".join(lines)


def save_strip(path: Path, images: list[np.ndarray]) -> None:
    """Images side by side: the source, then each method."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.concatenate(images, axis=1) * 255).round().astype(np.uint8)).save(path)


if __name__ == "__main__":
    main()
