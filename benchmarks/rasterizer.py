# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the CPU rasterizer is: blended pixel-splat pairs a second and core, and where the time goes.

    python benchmarks/rasterizer.py [--repeats 7] [--results]

A blended pair is a pixel and a splat that passes the alpha test there and is blended (the pixel is not finished); a
computed pair is one whose alpha was worked out. One-thread times are CPU seconds of the process (other load on the machine
counts less), times with all threads are seconds on the clock. Each is the smallest of the repeats, stage by stage.
Needs the data folder (EXGS_DATA). Writes benchmarks/out/rasterizer.json; --results also benchmarks/results/rasterizer.*.
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

import numba
import numpy as np

from exgs_blender.cameras import read_cameras
from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.formats.registry import read
from exgs_blender.render import cpu_backend, cpu_blend
from exgs_blender.render.prepared import PreparedScene, prepare
from exgs_blender.render.view import View, view_of
from exgs_blender.threads import sleep_while_waiting

HERE = Path(__file__).resolve().parent
STAGES = ("project", "colour", "sort", "tiles", "blend")


def cases(data: Path) -> list[tuple[str, PreparedScene, View]]:
    """(name, scene, view) of the views that are measured."""
    playbot = read(data / "scenes" / "playbot" / "0_0")
    snowmiku = read(data / "scenes" / "snowmiku-trained" / "point_cloud.ply")
    scene = prepare(playbot)
    views = [
        (f"playbot {width}x{height}", scene, view_of(orbit(extent_of(playbot), 4, width=width, height=height), 1))
        for width, height in ((1920, 1080), (480, 360))
    ]
    cameras = read_cameras(data / "scenes" / "snowmiku-trained" / "cameras_test.json")
    scene = prepare(snowmiku)
    for long_side in (int(cameras.widths[2]), 1920):
        view = view_of(cameras.resized(long_side), 2)
        views.append((f"snowmiku {view.width}x{view.height}", scene, view))
    return views


def stage_times(scene: PreparedScene, view: View, threads: int, clock: Callable[[], float]) -> list[float]:
    """Seconds of each stage of one frame."""
    numba.set_num_threads(threads)
    marks = [clock()]
    splats, keys, slots = cpu_backend.project(scene, view, "classic")
    marks.append(clock())
    cpu_backend.shade(scene, view, slots, splats)
    marks.append(clock())
    slots = cpu_backend.depth_order(keys, slots)
    marks.append(clock())
    lists = cpu_backend.bin_splats(*cpu_backend.in_order(splats, slots, view), slots, view)
    marks.append(clock())
    cpu_backend.blend_tiles(lists, view)
    marks.append(clock())
    return list(np.diff(marks))


def scoring_time(scene: PreparedScene, view: View) -> float:
    """CPU seconds of one thread for a frame with the sums of every Gaussian, without colours: what scoring does for a view."""
    numba.set_num_threads(1)
    sums = np.zeros((len(scene), cpu_blend.MEASURES))
    began = time.process_time()
    cpu_backend.measure(scene, view, "classic", sums, coloured=False)
    return time.process_time() - began


def pair_counts(scene: PreparedScene, view: View) -> tuple[int, int]:
    """(blended, computed) pairs of one frame."""
    sums = np.zeros((len(scene), cpu_blend.MEASURES))
    _, _, computed = cpu_backend.measure(scene, view, "classic", sums, coloured=False)
    return int(sums[:, cpu_blend.HITS].sum()), computed


def measure(name: str, scene: PreparedScene, view: View, repeats: int, threads: int) -> dict[str, Any]:
    """One row of the table."""
    blended, computed = pair_counts(scene, view)
    single = np.min([stage_times(scene, view, 1, time.process_time) for _ in range(repeats)], axis=0)
    scored = min(scoring_time(scene, view) for _ in range(repeats))
    every = np.min([stage_times(scene, view, threads, time.perf_counter) for _ in range(repeats)], axis=0)
    return {
        "case": name,
        "gaussians": len(scene),
        "pairs_blended": blended,
        "pairs_computed": computed,
        "cpu_ms_1_thread": {stage: round(1e3 * t, 1) for stage, t in zip(STAGES, single, strict=True)},
        "wall_ms_all_threads": {stage: round(1e3 * t, 1) for stage, t in zip(STAGES, every, strict=True)},
        "frame_cpu_ms_1_thread": round(1e3 * single.sum(), 1),
        "scored_frame_cpu_ms_1_thread": round(1e3 * scored, 1),
        "frame_wall_ms_all_threads": round(1e3 * every.sum(), 1),
        "blend_stage_mpairs_per_s_core": round(blended / single[-1] / 1e6),
        "computed_mpairs_per_s_core": round(computed / single[-1] / 1e6),
        "whole_frame_mpairs_per_s_core": round(blended / single.sum() / 1e6),
    }


def table(report: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "# CPU rasterizer",
        "",
        f"{report['processor']}; numba {report['numba']}, {report['threading_layer']}; load average before the run {report['load']}. "
        "Made by `python benchmarks/rasterizer.py --results`, which defines the terms.",
        "",
        f"Kernels ready after {report['compile_s']} s, from numba's cache on disk where there is one.",
        "",
        "| view | blended pairs | M blended/s/core, blend stage | M computed/s/core | M blended/s/core, whole frame "
        f"| frame, 1 thread (CPU ms) | scored frame, 1 thread (CPU ms) | frame, {report['threads']} threads (ms) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        rates = [row[f"{name}_mpairs_per_s_core"] for name in ("blend_stage", "computed", "whole_frame")]
        times = [f"{row[name]:.0f}" for name in ("frame_cpu_ms_1_thread", "scored_frame_cpu_ms_1_thread", "frame_wall_ms_all_threads")]
        lines.append("| " + " | ".join(map(str, [row["case"], f"{row['pairs_blended'] / 1e6:.1f} M", *rates, *times])) + " |")
    lines += ["", "| view, 1 thread | " + " | ".join(STAGES) + " |", "|---|" + "---|" * len(STAGES)]
    for row in report["rows"]:
        total = row["frame_cpu_ms_1_thread"]
        shares = (f"{t:.0f} ms ({t / total:.0%})" for t in row["cpu_ms_1_thread"].values())
        lines.append(f"| {row['case']} | " + " | ".join(shares) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    sleep_while_waiting()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--results", action="store_true", help="write to benchmarks/results as well")
    options = parser.parse_args()
    data = Path(os.environ.get("EXGS_DATA", HERE.parent.parent / "shared" / "data"))
    load = [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else []
    compile_s = round(cpu_backend.warm_up(), 1)
    threads = numba.get_num_threads()
    rows = [measure(name, scene, view, options.repeats, threads) for name, scene, view in cases(data)]
    report = {
        "processor": processor(),
        "numba": numba.__version__,
        "threading_layer": numba.threading_layer(),
        "load": load,
        "threads": threads,
        "compile_s": compile_s,
        "rows": rows,
    }
    print(table(report))
    folders = [HERE / "out", HERE / "results"] if options.results else [HERE / "out"]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        (folder / "rasterizer.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (folder / "rasterizer.md").write_text(table(report), encoding="utf-8")


def processor() -> str:
    """The processor's name and vector width, as far as the system tells."""
    import llvmlite.binding

    features = llvmlite.binding.get_host_cpu_features()
    vectors = next((name for name in ("avx512f", "avx2", "neon") if features.get(name)), "baseline vectors")
    return f"{platform.machine()} {llvmlite.binding.get_host_cpu_name()}, {vectors}"


if __name__ == "__main__":
    main()
