# SPDX-License-Identifier: GPL-3.0-or-later
"""SOG beside splat-transform's: bytes, PSNR against the capture, and the CPU time of clustering SH.

    python benchmarks/sog.py [--counts 10000,60000] [--sh-degree 3] [--cpu-minutes 30] [--ours-alone] [--record]

The Gaussians are drawn from real captures (one capture where it is large enough, else several in one cloud); both writers get
the same PLY. CPU seconds of all cores are compared, because clustering takes minutes and other load on the machine changes in that
time. splat-transform is stopped when it has used --cpu-minutes. Its clustering is what its SH costs beyond the same capture without SH.
--record writes benchmarks/results/sog.json and .md, otherwise benchmarks/out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from exgs_blender import formats  # noqa: E402
from exgs_blender.cameras import read_cameras  # noqa: E402
from exgs_blender.evaluate.compare import compare  # noqa: E402
from exgs_blender.formats._sh_palette import sh_palette  # noqa: E402
from exgs_blender.formats._sog_write import palette_size  # noqa: E402
from exgs_blender.splats import Gaussians  # noqa: E402
from exgs_blender.splats.gaussians import concatenate  # noqa: E402

TRANSFORM = HERE.parent / ".venv-node" / "node_modules" / ".bin" / "splat-transform"
DATA = Path(os.environ.get("EXGS_DATA", HERE.parents[1] / "shared" / "data"))
CAPTURES = ("snowmiku-trained", "caliterra-trained", "banana-trained")
WIDTH = 480
SAMPLE = 4000
"""Decoded Gaussians whose SH is compared with that of the nearest original."""


def capture(count: int, degree: int) -> Gaussians:
    """That many Gaussians, drawn at random from as few captures as have them."""
    clouds: list[Gaussians] = []
    for name in CAPTURES:
        if sum(map(len, clouds)) < count:
            clouds.append(formats.read(DATA / "scenes" / name / "point_cloud.ply"))
    cloud = concatenate(clouds)
    rows = np.random.default_rng(0).choice(len(cloud), min(count, len(cloud)), replace=False)
    return cloud.select(np.sort(rows)).with_sh_degree(degree)


def cpu_seconds(run: Callable[[], Any]) -> float:
    """Of all cores, of this process and the programs that it starts."""

    def spent() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    start = spent()
    run()
    return spent() - start


def transform(source: Path, target: Path, limit_s: float) -> None:
    """Their writer, stopped by the system after ``limit_s`` seconds of CPU time."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s), int(limit_s) + 5))

    subprocess.run([str(TRANSFORM), "-w", "-q", "-g", "cpu", source, target], check=True, capture_output=True, preexec_fn=limit)


def sh_error(original: Gaussians, decoded: Gaussians) -> float:
    """Root mean square of SH coefficients, over a sample of the decoded ones and the originals nearest to them."""
    if not original.sh_degree:
        return 0.0
    rows = np.random.default_rng(1).choice(len(decoded), min(SAMPLE, len(decoded)), replace=False)
    nearest = [int(np.square(original.means - decoded.means[row]).sum(axis=1).argmin()) for row in rows]
    return float(np.sqrt(np.mean(np.square(original.shN[nearest] - decoded.shN[rows], dtype=float))))


def one(count: int, degree: int, limit_s: float, ours_alone: bool, folder: Path) -> dict[str, Any]:
    """Both writers on one cloud."""
    cloud = capture(count, degree)
    source, no_sh = folder / "source.ply", folder / "no_sh.ply"
    formats.write(source, cloud)
    views = read_cameras(DATA / "scenes" / CAPTURES[0] / "cameras_test.json").resized(WIDTH)

    def judged(path: Path, seconds: float) -> dict[str, float]:
        decoded = formats.read(path)
        quality = compare(cloud, decoded, views, candidate_bytes=path.stat().st_size).to_dict()
        row = {"seconds": seconds, "bytes": path.stat().st_size, "psnr": quality["psnr"], "SH error": sh_error(cloud, decoded)}
        print(path.stem, row, flush=True)
        return row

    found: dict[str, Any] = {"Gaussians": len(cloud), "degree": degree, "palette": palette_size(len(cloud)) if degree else 0}
    seconds = cpu_seconds(lambda: formats.write(folder / "ours.sog", cloud))
    found["ours"] = judged(folder / "ours.sog", seconds)
    if degree:
        vectors = cloud.shN.reshape(len(cloud), -1)
        found["ours"]["clustering"] = cpu_seconds(lambda: sh_palette(vectors, palette_size(len(cloud))))
    if ours_alone or not TRANSFORM.exists():
        return found
    try:
        seconds = cpu_seconds(lambda: transform(source, folder / "theirs.sog", limit_s))
    except subprocess.CalledProcessError as error:
        if error.returncode >= 0:
            raise
        print(f"splat-transform was stopped after {limit_s:.0f} s of CPU time", flush=True)
        return found | {"stopped after": limit_s}
    found["theirs"] = judged(folder / "theirs.sog", seconds)
    if degree:
        formats.write(no_sh, cloud.with_sh_degree(0))
        found["theirs"]["clustering"] = seconds - cpu_seconds(lambda: transform(no_sh, folder / "without.sog", limit_s))
    return found


def table(results: dict[str, Any]) -> str:
    """All results as Markdown."""
    lines = ["# SOG from ExGS and from splat-transform 2.7.1 of the same capture", ""]
    lines += [f"`python benchmarks/sog.py --record`, {results['machine']}; its first lines say what is measured.", ""]
    head = ["Gaussians", "SH", "palette", "bytes: ours", "theirs", "ours / theirs", "PSNR against the PLY: ours", "theirs"]
    head += ["SH error: ours", "theirs", "CPU s: ours", "theirs", "of them SH clustering: ours", "theirs", "theirs / ours"]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in sorted(results["rows"].values(), key=lambda row: (-row["degree"], row["Gaussians"])):
        ours, theirs, limit = row["ours"], row.get("theirs"), row.get("stopped after")
        nothing = f"not within {limit:.0f}" if limit else ""
        clusters, slower = ours.get("clustering"), ""
        if clusters:
            slower = f"{theirs['clustering'] / clusters:.0f}" if theirs else f"above {limit / clusters:.0f}" if limit else ""
        cells = [f"{row['Gaussians']:,}", row["degree"], f"{row['palette']:,}" if row["degree"] else ""]
        cells += [
            f"{ours['bytes']:,}",
            f"{theirs['bytes']:,}" if theirs else "",
            f"{ours['bytes'] / theirs['bytes']:.3f}" if theirs else "",
        ]
        cells += [f"{ours['psnr']:.2f}", f"{theirs['psnr']:.2f}" if theirs else ""]
        cells += [f"{side['SH error']:.5f}" if side and row["degree"] else "" for side in (ours, theirs)]
        cells += [f"{ours['seconds']:.1f}", f"{theirs['seconds']:.1f}" if theirs else nothing]
        cells += [f"{clusters:.2f}" if clusters else "", f"{theirs['clustering']:.1f}" if theirs and clusters else "", slower]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10000,60000", help="Gaussians, comma-separated")
    parser.add_argument("--sh-degree", type=int, default=3)
    parser.add_argument("--cpu-minutes", type=float, default=30.0, help="when splat-transform is stopped")
    parser.add_argument("--ours-alone", action="store_true")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    out = HERE / ("results" if options.record else "out")
    out.mkdir(exist_ok=True)
    for count in map(int, options.counts.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="sog-"))
        try:
            row = one(count, options.sh_degree, 60 * options.cpu_minutes, options.ours_alone, folder)
        finally:
            shutil.rmtree(folder)
        results = json.loads((out / "sog.json").read_text()) if (out / "sog.json").exists() else {"rows": {}}
        results["machine"] = f"{os.cpu_count()} cores ({platform.machine()})"
        results["rows"][f"{row['Gaussians']}, SH {row['degree']}"] = row
        (out / "sog.json").write_text(json.dumps(results, indent=1) + "\n")
        (out / "sog.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
