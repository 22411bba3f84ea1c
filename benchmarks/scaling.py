# SPDX-License-Identifier: GPL-3.0-or-later
"""How the cost of compression grows: seconds by stage and peak memory from 0.1 to 10 million Gaussians.

    python -m benchmarks.scaling [--millions 0.1 0.5 2 5 10] [--scene playbot] [--ratio 100] [--record]

Clouds of other sizes than the scene's are cut from it along the Morton curve (so that what is left is as dense as before) or
are a grid of copies side by side on the ground. Each is compressed and decoded in processes of its own, from and to a file, as
``exgs compress`` does it. Times include everything, such as reading. Writes ``benchmarks/out/scaling.json`` and ``.md``,
with ``--record`` also to ``benchmarks/results``. Needs about 160 bytes of disk for every Gaussian of the largest cloud.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.compression.methods import child
from benchmarks.compression.report import machine
from benchmarks.compression.scenes import OUT, RESULTS, WORK, find
from exgs_blender.atomic import atomic_path
from exgs_blender.cameras.trajectories import extent_of
from exgs_blender.errors import ExgsError
from exgs_blender.formats import read, write
from exgs_blender.splats import Gaussians
from exgs_blender.splats.gaussians import concatenate
from exgs_blender.splats.morton import morton_order
from exgs_blender.threads import sleep_while_waiting

MEMORY_LIMIT = 16e9
BASE_MILLIONS = 0.5
"""Times per million are compared with this size's."""


@dataclass(frozen=True)
class Row:
    """One size. Seconds and bytes; ``stages`` are the compressor's own, ``problem`` is empty where it went well."""

    count: int
    ply_bytes: int
    bytes: int
    kept: int
    stages: dict[str, float]
    encode_seconds: float
    encode_peak: int
    decode_seconds: float
    decode_peak: int
    problem: str = ""


def main() -> None:
    sleep_while_waiting()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--millions", nargs="+", type=float, default=[0.1, 0.5, 2.0, 5.0, 10.0])
    parser.add_argument("--scene", default="playbot")
    parser.add_argument("--ratio", type=float, default=100.0)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    warmed, _ = child("warm", folder=str(WORK))
    if warmed.problem:
        raise ExgsError(f"the compressor fails on a tiny cloud: {warmed.problem}")
    rows = []
    for millions in options.millions:
        rows.append(measure(options.scene, round(millions * 1e6), options.ratio))
        print(_line(rows[-1]), flush=True)
    text = table(options.scene, options.ratio, rows)
    print("\n" + text)
    data = json.dumps(
        {"machine": machine(), "scene": options.scene, "ratio": options.ratio, "rows": [asdict(row) for row in rows]}, indent=1
    )
    for folder in [OUT, *([RESULTS] if options.record else [])]:
        for suffix, content in {".md": text, ".json": data}.items():
            with atomic_path(folder / f"scaling{suffix}") as part:
                part.write_text(content + "\n", encoding="utf-8")


def measure(scene: str, count: int, ratio: float) -> Row:
    """Make a cloud of ``count`` Gaussians, compress it, decode it."""
    source, target = WORK / "scaling.ply", WORK / "scaling.exgs"
    size = _write_sized(scene, count, source)
    try:
        encoding, answer = child("compress", source=str(source), target=str(target), ratio=ratio, method="merge", cameras="")
        if encoding.problem:
            return Row(count, size, 0, 0, {}, encoding.seconds, encoding.peak_bytes, 0.0, 0, encoding.problem)
        decoding, _ = child("decode", source=str(target))
    finally:
        source.unlink(missing_ok=True)
    return Row(
        count=count,
        ply_bytes=size,
        bytes=answer["bytes"],
        kept=answer["kept"],
        stages=answer["seconds"],
        encode_seconds=round(encoding.seconds, 2),
        encode_peak=encoding.peak_bytes,
        decode_seconds=round(decoding.seconds, 2),
        decode_peak=decoding.peak_bytes,
        problem=decoding.problem,
    )


def _write_sized(scene: str, count: int, path: Path) -> int:
    """Write the cloud; returns its size as ratios count it. Nothing of it stays in memory."""
    cloud = sized(read(find(scene)), count)
    write(path, cloud)
    return cloud.ply_bytes


def sized(cloud: Gaussians, count: int) -> Gaussians:
    """``count`` Gaussians as dense as ``cloud``: a piece of it, or copies in a square grid on the ground, the last one in part."""
    along_curve = cloud.select(morton_order(cloud.means))
    copies = -(-count // len(cloud))
    if copies == 1:
        return along_curve.select(slice(count))
    extent = extent_of(cloud)
    ground = np.eye(3)[np.argsort(np.abs(extent.up))[:2]]
    side = int(np.ceil(np.sqrt(copies)))
    pieces = []
    for number in range(copies):
        cell = np.array([number % side, number // side])
        means = (along_curve.means + 2 * extent.radius * (cell @ ground)).astype(np.float32)
        pieces.append(replace(along_curve, means=means).select(slice(count - number * len(cloud))))
    return concatenate(pieces)


def table(scene: str, ratio: float, rows: list[Row]) -> str:
    """Markdown."""
    stages = list(dict.fromkeys(stage for row in rows for stage in row.stages))
    head = ["Gaussians", "PLY MB", "file MB", *(f"{stage} s" for stage in stages)]
    head += [
        "encoding, whole process s",
        "s per million",
        f"over {BASE_MILLIONS:g} M's",
        "peak GB",
        "peak over PLY",
        "reading, whole process s",
    ]
    lines = [
        "# How the cost of compression grows",
        "",
        f"{machine()}. {scene} to {ratio:g}x, cut or copied to size. Made by `python -m benchmarks.scaling --record`.",
        "Encoding is the whole process, start-up and reading included; stages are its own clock's.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---:|" * len(head),
    ]
    base = next((row for row in rows if row.count == round(BASE_MILLIONS * 1e6) and not row.problem), None)
    for row in rows:
        per_million = row.encode_seconds / row.count * 1e6
        relative = f"{per_million / (base.encode_seconds / base.count * 1e6):.2f}" if base else ""
        cells = [f"{row.count:,}", f"{row.ply_bytes / 1e6:,.0f}", f"{row.bytes / 1e6:.2f}"]
        cells += [f"{row.stages.get(stage, 0):.1f}" for stage in stages]
        cells += [row.problem or f"{row.encode_seconds:.1f}", f"{per_million:.1f}", relative, f"{row.encode_peak / 1e9:.2f}"]
        lines.append("| " + " | ".join([*cells, f"{row.encode_peak / row.ply_bytes:.1f}x", f"{row.decode_seconds:.1f}"]) + " |")
    largest = max(rows, key=lambda row: row.count)
    verdict = "inside" if largest.encode_peak <= MEMORY_LIMIT and not largest.problem else "not inside"
    return "\n".join([*lines, "", f"{largest.count / 1e6:g} M {verdict} {MEMORY_LIMIT / 1e9:g} GB."])


def _line(row: Row) -> str:
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in row.stages.items())
    return f"{row.count:>12,}: {row.problem or f'{row.encode_seconds:.1f} s'}, peak {row.encode_peak / 1e9:.2f} GB ({stages})"


if __name__ == "__main__":
    main()
