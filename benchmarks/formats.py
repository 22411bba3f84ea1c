# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the formats are read and written, what their quantisation costs, and how much memory converting takes.

    python benchmarks/formats.py speed  [--counts 1000000,5000000] [--repeats 3]   seconds, beside plyfile, gsply and splat-transform
    python benchmarks/formats.py ply    [--counts 1000000,5000000]   reading a PLY beside reading its bytes
    python benchmarks/formats.py errors                              error of each field after a round trip of a real capture
    python benchmarks/formats.py memory [--counts 1000000]           peak memory of a conversion over the arrays' size

Times are the smallest of the repeats, of a file in the page cache; SOG, exgs, USD and what splat-transform does are measured once.
splat-transform is a program: the time of reading a PLY and writing nothing ("null") is taken off its writing times, the time of its
start (reading one Gaussian) off its reading times. --record writes benchmarks/results/formats.json and .md, otherwise
benchmarks/out; after each count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from exgs_blender import formats  # noqa: E402
from exgs_blender.splats import Gaussians  # noqa: E402
from tests.clouds import random_gaussians  # noqa: E402

NODE = HERE.parent / ".venv-node" / "node_modules" / ".bin" / "splat-transform"
DATA = Path(os.environ.get("EXGS_DATA", HERE.parents[1] / "shared" / "data"))
DEGREE = 3
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "PLY": ("a.ply", {}),
    "compressed PLY": ("a.compressed.ply", {}),
    "SPZ 3": ("v3.spz", {"version": 3}),
    "SPZ 4": ("v4.spz", {"version": 4}),
    "SOG": ("a.sog", {}),
    "splat (SH 0)": ("a.splat", {}),
    "glTF": ("a.glb", {}),
    "USD": ("a.usdc", {}),
    "exgs": ("a.exgs", {}),
}
PAIRS = 25
SLOW = ("SOG", "exgs", "USD")
"""Measured once."""
GSPLY = {"PLY": "a.ply", "compressed PLY": "a.compressed.ply", "SPZ 3": "v3.spz", "SPZ 4": "v4.spz"}
THEIRS_READ = ("PLY", "compressed PLY", "SPZ 3", "SPZ 4", "SOG", "splat (SH 0)")
THEIRS_WRITE = ("PLY", "compressed PLY", "SPZ 3", "SPZ 4", "glTF")


def best(run: Callable[[], Any], repeats: int) -> float:
    """Smallest wall time in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def transform(*arguments: object) -> None:
    subprocess.run([str(NODE), "-w", "-q", "-g", "cpu", *map(str, arguments)], check=True, capture_output=True)


def bare_copy(path: Path) -> list[np.ndarray]:
    """The least that numpy can do: rows through one small buffer into the six arrays, one thread, nothing checked."""
    from exgs_blender.formats._ply_columns import BinaryPieces, Columns
    from exgs_blender.formats._ply_header import read_header

    header = read_header(path)
    element = header.elements[0]
    columns, pieces = Columns(element, DEGREE), BinaryPieces(header, element)
    columns.allocate()
    for start in pieces.starts:
        columns.split(start, pieces.read(start))
    pieces.close()
    return [target for target, _ in columns.targets]


def ply(counts: list[int], folder: Path) -> dict[str, Any]:
    """Reading a PLY beside reading its bytes, in turns, so that other load on the machine meets both: smallest seconds of each."""
    results: dict[str, Any] = {}
    for count in counts:
        path = folder / "a.ply"
        formats.write(path, random_gaussians(count, DEGREE))
        ways: dict[str, Callable[[], Any]] = {
            "bytes": lambda p=path: np.fromfile(p, np.uint8),
            "bare copy": lambda p=path: bare_copy(p),
            "ExGS": lambda p=path: formats.read(p),
        }
        wall, cpu = dict.fromkeys(ways, np.inf), dict.fromkeys(ways, np.inf)
        for _ in range(PAIRS):
            for name, way in ways.items():
                start, spent = time.perf_counter(), time.process_time()
                way()
                wall[name] = min(wall[name], time.perf_counter() - start)
                cpu[name] = min(cpu[name], time.process_time() - spent)
        results[f"{count:,}"] = {"wall": wall, "cpu": cpu, "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None}
        print(count, results[f"{count:,}"], flush=True)
    return results


def speed(counts: list[int], repeats: int, folder: Path) -> dict[str, Any]:
    """Seconds of each tool for each format and count."""
    results: dict[str, Any] = {}
    for count in counts:
        cloud = random_gaussians(count, DEGREE)
        rows: dict[str, dict[str, float]] = {}
        for name, (file, options) in FILES.items():
            path = folder / file
            source = cloud.with_sh_degree(0) if "SH 0" in name else cloud
            times = 1 if name in SLOW else repeats
            rows[name] = {"write": best(lambda p=path, s=source, o=options: formats.write(p, s, **o), times)}
            rows[name]["read"] = best(lambda p=path: formats.read(p), times)
            rows[name]["bytes"] = path.stat().st_size
            print(f"{count:>9,} {name:<15} {rows[name]}", flush=True)
        others(rows, cloud, repeats, folder)
        results[f"{count:,}"] = rows
        for path in folder.iterdir():
            path.unlink()
    return results


def others(rows: dict[str, dict[str, float]], cloud: Gaussians, repeats: int, folder: Path) -> None:
    """The other tools' times, into ``rows``."""

    rows["PLY"]["plyfile read"] = best(lambda: read_with_plyfile(folder / "a.ply"), repeats)
    rows["PLY"]["plyfile write"] = best(lambda: write_with_plyfile(folder / "other.ply", cloud), repeats)
    try:
        with_gsply(rows, cloud, repeats, folder)
    except ImportError as error:
        print("gsply is missing:", error)
    if not NODE.exists():
        print("splat-transform is missing")
        return
    formats.write(folder / "one.ply", random_gaussians(1, DEGREE))
    start = best(lambda: transform(folder / "one.ply", "null"), repeats)
    reading = best(lambda: transform(folder / "a.ply", "null"), 1)
    for name in THEIRS_READ:
        path = folder / FILES[name][0]
        attempt(rows[name], "splat-transform read", lambda p=path: transform(p, "null"), start)
    for name in THEIRS_WRITE:
        suffix = FILES[name][0].removeprefix("a").removeprefix("v3").removeprefix("v4")
        version = ["--spz-version", name[-1]] if name.startswith("SPZ") else []
        convert = lambda s=suffix, v=version: transform(*v, folder / "a.ply", folder / f"other{s}")  # noqa: E731
        attempt(rows[name], "splat-transform write", convert, reading)


def attempt(row: dict[str, float], key: str, run: Callable[[], Any], without: float) -> None:
    """Seconds beyond ``without``; -1 where the program gives up."""
    try:
        row[key] = max(best(run, 1) - without, 0.0)
    except subprocess.CalledProcessError as error:
        print(key, "failed:", error.stderr.decode(errors="replace").strip()[-200:])
        row[key] = -1.0


def read_with_plyfile(path: Path) -> np.ndarray:
    """All properties in memory: plyfile alone only maps the file."""
    import plyfile

    vertex = plyfile.PlyData.read(path)["vertex"].data
    return np.stack([vertex[name] for name in vertex.dtype.names], axis=1)


def write_with_plyfile(path: Path, cloud: Gaussians) -> None:
    """From the same arrays that ours writes."""
    import plyfile

    from exgs_blender.formats.ply import property_names

    names = property_names(cloud.sh_degree)
    rest = cloud.shN.transpose(0, 2, 1).reshape(len(cloud), -1)
    columns = [cloud.means, np.zeros_like(cloud.means), cloud.sh0[:, 0], rest, cloud.opacities[:, None], cloud.scales, cloud.quats]
    rows = np.concatenate(columns, axis=1).view([(name, "f4") for name in names])[:, 0]
    plyfile.PlyData([plyfile.PlyElement.describe(rows, "vertex")]).write(str(path))


def with_gsply(rows: dict[str, dict[str, float]], cloud: Gaussians, repeats: int, folder: Path) -> None:
    import gsply

    def read(path: Path) -> None:
        data = gsply.read_spz(path) if path.suffix == ".spz" else gsply.plyread(path)
        for name in ("means", "scales", "quats", "opacities", "sh0", "shN"):  # it maps columns; a renderer wants arrays
            np.ascontiguousarray(getattr(data, name))

    fields = (cloud.means, cloud.scales, cloud.quats, cloud.opacities, cloud.sh0[:, 0], cloud.shN)
    for name, file in GSPLY.items():
        rows[name]["gsply read"] = best(lambda f=file: read(folder / f), repeats)
    rows["PLY"]["gsply write"] = best(lambda: gsply.plywrite(folder / "g.ply", *fields), repeats)
    rows["compressed PLY"]["gsply write"] = best(lambda: gsply.plywrite(folder / "g.ply", *fields, compressed=True), repeats)
    data = gsply.plyread(folder / "a.ply")
    for version in (3, 4):
        rows[f"SPZ {version}"]["gsply write"] = best(lambda d=data, v=version: gsply.write_spz(folder / "g.spz", d, version=v), 1)


def capture(count: int) -> Gaussians:
    """Some Gaussians of a real capture of SH degree 3, each at a different place."""
    cloud = formats.read(DATA / "scenes" / "snowmiku-trained" / "point_cloud.ply")
    rows = np.random.default_rng(0).choice(len(cloud), min(count, len(cloud)), replace=False)
    return cloud.select(np.sort(rows))


def matched(cloud: Gaussians, other: Gaussians) -> Gaussians:
    """``cloud`` in the order of a lossy copy of it, by nearest position."""
    if np.abs(cloud.means - other.means).max() < 1e-2:
        return cloud
    step = 1 << 8
    nearest = [((other.means[i : i + step, None] - cloud.means) ** 2).sum(axis=2).argmin(axis=1) for i in range(0, len(other), step)]
    return cloud.select(np.concatenate(nearest))


def covariance_roots(cloud: Gaussians) -> np.ndarray:
    """R S R^T [N, 3, 3]: the shape, however its axes are named."""
    from exgs_blender.splats.activation import scale_from_log, unit_quats
    from exgs_blender.splats.rotations import matrices_from_quats

    turn = matrices_from_quats(unit_quats(cloud.quats).astype(np.float64))
    return turn * scale_from_log(cloud.scales)[:, None, :] @ turn.transpose(0, 2, 1)


def field_errors(cloud: Gaussians, other: Gaussians, renamed_axes: bool = False) -> dict[str, list[float] | None]:
    """Root mean square and largest difference of each field, in the units that a person knows.

    Standard deviations below e^-10 count as that. With ``renamed_axes`` rotations cannot be compared one by one, only shapes.
    """
    from exgs_blender.splats.activation import SH_C0, opacity_from_logit, unit_quats

    a, b = matched(cloud, other), other
    first, second = unit_quats(a.quats).astype(np.float64), unit_quats(b.quats).astype(np.float64)
    second *= np.where((first * second).sum(axis=1, keepdims=True) < 0, -1, 1)
    turn = np.degrees(4 * np.arcsin(np.clip(np.linalg.norm(first - second, axis=1) / 2, 0, 1)))
    shapes = [covariance_roots(c) for c in (a, b)]
    found = {
        "position": a.means - b.means,
        "shape, %": 100 * np.linalg.norm(shapes[0] - shapes[1], axis=(1, 2)) / np.linalg.norm(shapes[0], axis=(1, 2)),
        "size, %": 100 * np.expm1(np.sort(np.maximum(b.scales, -10), axis=1) - np.sort(np.maximum(a.scales, -10), axis=1)),
        "rotation, degrees": turn,
        "opacity": opacity_from_logit(a.opacities) - opacity_from_logit(b.opacities),
        "colour": SH_C0 * (a.sh0 - b.sh0),
        "SH": a.shN - b.shN if b.sh_degree else np.zeros(1),
    }
    rows: dict[str, list[float] | None] = {}
    for name, v in found.items():
        rows[name] = [float(np.sqrt(np.mean(np.square(v, dtype=float)))), float(np.abs(v).max())]
    return rows | ({"rotation, degrees": None} if renamed_axes else {})


def errors(folder: Path) -> dict[str, Any]:
    """A round trip of a real capture through every format."""
    cloud = capture(20_000)
    results: dict[str, Any] = {}
    for name, (file, options) in {**FILES, "SPZ 1": ("v1.spz", {"version": 1}), "SPZ 2": ("v2.spz", {"version": 2})}.items():
        source = cloud.with_sh_degree(0) if "SH 0" in name else cloud
        formats.write(folder / file, source, **options)
        results[name] = {
            "bytes a Gaussian": (folder / file).stat().st_size / len(cloud),
            **field_errors(source, formats.read(folder / file), renamed_axes=name == "exgs"),
        }
        print(name, results[name], flush=True)
    return results


CHILD = """
import json, resource, sys
from exgs_blender import formats
formats.formats()
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
cloud = formats.read(sys.argv[1])
formats.write(sys.argv[2], cloud)
own, of_others = peak(), 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([max(own, of_others) - before, sum(array.nbytes for _, array in cloud.arrays())]))
"""
SMALL = 60_000
"""Gaussians for what is no matter of their number: enough for compiled code to be loaded."""


def memory(counts: list[int], folder: Path) -> dict[str, Any]:
    """Peak of ``exgs convert``, or of a process that it starts, above the idle interpreter, over the arrays' size. Linux only.

    From PLY and back to it; [ratio, ratio, MB that even a small file takes, MB].
    """
    results: dict[str, Any] = {}
    for count, degree in [(count, degree) for count in counts for degree in (0, DEGREE)]:
        for number in (count, SMALL):
            code = "from exgs_blender import formats; from tests.clouds import random_gaussians; import sys; "
            code += f"formats.write(sys.argv[1], random_gaussians({number}, {degree}))"
            subprocess.run([sys.executable, "-c", code, folder / f"{number}.ply"], check=True, cwd=HERE.parent)
        for name, (file, _) in FILES.items():
            if "SH 0" in name and degree:
                continue
            small = [peak - arrays for peak, arrays in conversions(folder / f"{SMALL}.ply", folder / file)]
            ratios = [peak / arrays for peak, arrays in conversions(folder / f"{count}.ply", folder / file)]
            results[f"{name}, SH {degree}, {count:,}"] = [*ratios, *(max(extra, 0) / 1e6 for extra in small)]
            print(f"{name}, SH {degree}, {count:,}", results[f"{name}, SH {degree}, {count:,}"], flush=True)
    return results


def conversions(source: Path, target: Path) -> list[tuple[int, int]]:
    """(Peak, size of the arrays) in bytes of a conversion and of the one back to PLY."""
    found = []
    for pair in ((source, target), (target, target.with_name("back.ply"))):
        done = subprocess.run([sys.executable, "-c", CHILD, *pair], check=True, capture_output=True, text=True, cwd=HERE.parent)
        peak, arrays = json.loads(done.stdout.splitlines()[-1])
        found.append((peak, arrays))
    return found


def shown(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return "fails" if seconds < 0 else f"{seconds:.2f}"


def table(results: dict[str, Any]) -> str:
    """All results as Markdown."""
    lines = [
        "# Formats",
        "",
        "`python benchmarks/formats.py speed|ply|errors|memory --record`; see its first lines for what is measured.",
        "",
    ]
    for count, rows in results.get("speed", {}).items():
        lines += [f"## Seconds at {count} Gaussians of SH degree {DEGREE}, {results['machine']}", ""]
        tools = ("", "plyfile ", "gsply ", "splat-transform ")
        lines += [
            "| format | MB | " + " | ".join(f"{tool or 'ExGS '}{way}" for way in ("read", "write") for tool in tools) + " |",
            "|---" * 10 + "|",
        ]
        for name, row in rows.items():
            cells = [shown(row.get(f"{tool}{way}")) for way in ("read", "write") for tool in tools]
            lines.append(f"| {name} | {row['bytes'] / 1e6:.0f} | " if "bytes" in row else f"| {name} | | ")
            lines[-1] += " | ".join(cells) + " |"
        lines.append("")
    if "ply" in results:
        lines += [f"## Reading a PLY beside reading its bytes with numpy.fromfile, {results['machine']}", ""]
        head = "| Gaussians | bytes, s | ExGS, s | times as long | CPU seconds: bytes | bare copy | ExGS | times as many | load |"
        lines += [head, "|---" * 9 + "|"]
        for count, row in results["ply"].items():
            wall, cpu = row["wall"], row["cpu"]
            cells = [f"{wall['bytes']:.3f}", f"{wall['ExGS']:.3f}", f"{wall['ExGS'] / wall['bytes']:.2f}"]
            cells += [*(f"{cpu[way]:.3f}" for way in ("bytes", "bare copy", "ExGS")), f"{cpu['ExGS'] / cpu['bytes']:.2f}"]
            lines.append(f"| {count} | {' | '.join(cells)} | {row.get('load') or 0:.1f} |")
        lines += [
            "",
            "Ours splits the rows into arrays and looks for values that are not finite, in as many threads as cores, four at most.",
            "The bare copy is the same reading and splitting in one thread without any check: the least that numpy can do with one core.",
            "",
        ]
    if "errors" in results:
        fields = list(next(iter(results["errors"].values())))[1:]
        lines += ["## Quantisation error: root mean square (largest) after writing and reading 20,000 Gaussians of a real capture", ""]
        lines += ["| format | bytes each | " + " | ".join(fields) + " |", "|---" * (len(fields) + 2) + "|"]
        for name, row in results["errors"].items():
            cells = [f"{row[f][0]:.2g} ({row[f][1]:.2g})" if row[f] else "axes renamed" for f in fields]
            lines.append(f"| {name} | {row['bytes a Gaussian']:.1f} | " + " | ".join(cells) + " |")
        lines += [
            "",
            "Largest values are clipped ones where a format has a range (SPZ: sizes, colour, SH; compressed PLY: SH). exgs: near-lossless.",
            "",
        ]
    if "memory" in results:
        lines += ["## Peak memory of a conversion over the arrays' size, the input counted", ""]
        lines += ["| format | from PLY | to PLY | MB whatever the number: from PLY | to PLY |", "|---|---|---|---|---|"]
        lines += [f"| {name} | {a:.2f} | {b:.2f} | {c:.0f} | {d:.0f} |" for name, (a, b, c, d) in results["memory"].items()]
        lines += [
            "",
            "Everything above the interpreter with our readers imported: libraries and compiled code that a format loads (numba for .exgs,",
            f"OpenUSD) count, too. What a conversion of {SMALL:,} takes beyond its arrays stands on the right.",
            "OpenUSD reads in a process of its own; the larger of the two counts.",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "ply", "errors", "memory"))
    parser.add_argument("--counts", default="", help="Gaussians, comma-separated")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    counts = [int(n) for n in (options.counts or {"memory": "1000000"}.get(options.what, "1000000,5000000")).split(",")]
    ways: dict[str, Callable[[list[int], Path], dict[str, Any]]] = {
        "speed": lambda some, folder: speed(some, options.repeats, folder),
        "ply": ply,
        "errors": lambda _, folder: errors(folder),
        "memory": memory,
    }
    for some in [[count] for count in counts] if options.what in ("speed", "ply") else [counts]:
        folder = Path(tempfile.mkdtemp(prefix="formats-"))
        try:
            found = ways[options.what](some, folder)
        finally:
            shutil.rmtree(folder)
        print(kept(options.what, found, options.record))


def kept(what: str, found: dict[str, Any], record: bool) -> str:
    """Write results beside those that are there; the table of these alone."""
    out = HERE / ("results" if record else "out")
    out.mkdir(exist_ok=True)
    results = json.loads((out / "formats.json").read_text()) if (out / "formats.json").exists() else {}
    results["machine"] = f"{os.cpu_count()} cores ({platform.machine()})"
    results[what] = {**results.get(what, {}), **found} if what in ("speed", "ply") else found
    (out / "formats.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "formats.md").write_text(table(results))
    return table({"machine": results["machine"], what: found})


if __name__ == "__main__":
    main()
