# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuzz every reader: inputs tried, and how many ended in anything but a cloud or one line of error.

    python benchmarks/fuzz_formats.py [--seconds 60] [--engine atheris|mutations] [--formats ply,spz] [--record]

Each format is fuzzed for that long in processes of its own, from the small whole files of the tests. "atheris" (pip install
atheris) is libFuzzer with coverage of the readers' Python code; "mutations" are random changes. A crash is an exception other
than ExgsError, a signal, more than 2 GB, or more than 10 seconds (USD: 60); its input is kept in benchmarks/out/fuzz.
OpenUSD reads each file in a process of its own, as in the product; here that is forked from one that has OpenUSD loaded already.
Writes benchmarks/out/fuzz_formats.json; --record also benchmarks/results/fuzz_formats.*; after each format.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

MEMORY_BYTES = 2 << 30
SECONDS_EACH = 10
KEPT = HERE / "out" / "fuzz"


def samples_of(folder: Path) -> dict[str, list[Path]]:
    """Whole files by the format that reads them."""
    from exgs_blender import formats
    from tests.formats.samples import write_samples

    found: dict[str, list[Path]] = {}
    for path in write_samples(folder):
        found.setdefault(formats.format_of(path).name, []).append(path)
    return found


def try_one(path: Path) -> bool:
    """Whether a file was refused; any other exception than ExgsError passes through."""
    from exgs_blender import formats
    from exgs_blender.errors import ExgsError

    try:
        formats.read(path)
    except ExgsError as error:
        message = str(error)
    else:
        return False
    if "\n" in message:
        raise ValueError(f"an error of several lines: {message}")
    return True


class Forks:
    """Stands in for ``subprocess`` in ``formats.usd``: the same program, forked instead of started, which is a hundred times as quick."""

    TimeoutExpired = subprocess.TimeoutExpired

    def run(self, command: list[str], *, timeout: float, **_: Any) -> None:
        from exgs_blender.formats import _usd_child

        process = os.fork()
        if process == 0:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            signal.alarm(0)
            os._exit(_usd_child.main(Path(command[2]), Path(command[3])))
        end = time.monotonic() + timeout
        while os.waitpid(process, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                raise subprocess.TimeoutExpired(command, timeout)
            time.sleep(0.0005)


def prepare(name: str) -> None:
    """What a child does once before its first input."""
    if name != "usd":
        return
    import pxr.Sdf
    import pxr.Usd
    import pxr.UsdGeom  # noqa: F401 loaded before the forks

    from exgs_blender.formats import usd

    usd.subprocess = Forks()  # type: ignore[assignment]


def limit_process() -> None:
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES,) * 2)


def mutations_child(name: str, paths: list[Path], seconds: float, seed: int, folder: Path) -> None:
    """Change and read until the time is over; the counts and the current input lie in ``folder``."""
    from tests.formats.mutate import mutate

    prepare(name)
    limit_process()
    rng = random.Random(seed)
    contents = [(path.name, path.read_bytes()) for path in paths]
    tried = refused = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        file_name, content = rng.choice(contents)
        path = folder / file_name
        path.write_bytes(mutate(content, rng))
        signal.alarm(6 * SECONDS_EACH if name == "usd" else SECONDS_EACH)  # USD's own process has 20 seconds
        refused += try_one(path)
        signal.alarm(0)
        tried += 1
        if tried % 64 == 0:
            (folder / "counts.json").write_text(json.dumps([tried, refused]))
    (folder / "counts.json").write_text(json.dumps([tried, refused]))


def fuzz_with_mutations(name: str, paths: list[Path], seconds: float, folder: Path) -> dict[str, Any]:
    """Children until the time is over: one that dies is a crash, and the next one goes on with another seed."""
    end, seed = time.monotonic() + seconds, 0
    tried = refused = 0
    crashes: list[str] = []
    while (left := end - time.monotonic()) > 1 and len(crashes) < 20:
        command = [sys.executable, __file__, "--child", name, "--seconds", str(left), "--seed", str(seed), "--folder", str(folder)]
        (folder / "counts.json").write_text("[0, 0]")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        counts = json.loads((folder / "counts.json").read_text())
        tried, refused, seed = tried + counts[0], refused + counts[1], seed + 1
        if done.returncode:
            what = done.stderr.strip().splitlines()[-1][:200] if done.returncode == 1 else f"signal {-done.returncode}"
            crashes.append(what)
            keep(
                sorted((p for p in folder.iterdir() if p.is_file() and p.name != "counts.json"), key=lambda p: p.stat().st_mtime)[-1], name
            )
    return {"tried": tried, "refused": refused, "crashes": crashes}


def instrument() -> None:
    """Import the readers so that libFuzzer sees which lines an input reaches; before anything else imports them."""
    import atheris

    with atheris.instrument_imports(include=["exgs_blender.formats"]):
        from exgs_blender import formats

        formats.formats()


def atheris_child(name: str, paths: list[Path], folder: Path, arguments: list[str]) -> None:
    """Never returns: libFuzzer ends the process. Half of the changes are ours, which know what lies behind checksums."""
    import atheris

    from tests.formats.mutate import mutate

    prepare(name)
    target = folder / f"input{''.join(paths[0].suffixes)}"
    (folder / "refused").write_bytes(bytes(8))
    with (folder / "refused").open("r+b") as file:
        refused = mmap.mmap(file.fileno(), 8)  # libFuzzer ends the process without a word to Python

    def one(data: bytes) -> None:
        target.write_bytes(data)
        if try_one(target):
            refused[:] = struct.pack("<Q", struct.unpack("<Q", refused)[0] + 1)

    def changed(data: bytes, max_size: int, seed: int) -> bytes:
        return mutate(bytes(data), random.Random(seed))[:max_size] if seed % 2 else atheris.Mutate(data, max_size)

    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=changed)
    atheris.Fuzz()


def fuzz_with_atheris(name: str, paths: list[Path], seconds: float, folder: Path) -> dict[str, Any]:
    corpus = folder / "corpus"
    corpus.mkdir()
    for path in paths:
        shutil.copy(path, corpus)
    KEPT.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--child", name, "--engine", "atheris", "--folder", str(folder), "--"]
    command += [f"-max_total_time={round(seconds)}", f"-rss_limit_mb={MEMORY_BYTES >> 20}", f"-timeout={SECONDS_EACH}"]
    command += ["-print_final_stats=1", "-max_len=65536", f"-artifact_prefix={KEPT}/{name}-", str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    tried = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    coverage = re.findall(r"cov: (\d+)", done.stderr)
    crashes = [] if done.returncode == 0 else [" | ".join(done.stderr.strip().splitlines()[-3:])[:400]]
    refused = struct.unpack("<Q", (folder / "refused").read_bytes())[0]
    return {
        "tried": int(tried[1]) if tried else 0,
        "refused": refused,
        "edges": int(coverage[-1]) if coverage else 0,
        "crashes": crashes,
    }


def keep(path: Path, name: str) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, KEPT / f"{name}-{time.time_ns()}{path.suffix}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each format")
    parser.add_argument("--engine", choices=("atheris", "mutations"), default="mutations")
    parser.add_argument("--formats", default="", help="comma-separated names; all without it")
    parser.add_argument("--record", action="store_true", help="also write benchmarks/results/fuzz_formats.*")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("fuzzer", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child and options.engine == "atheris":
        instrument()
    place = options.folder or ("/dev/shm" if os.path.isdir("/dev/shm") else None)  # libFuzzer ends a child before it could clean up
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=place) as temporary:
        samples = samples_of(Path(temporary) / "whole")
        if options.child:
            folder, paths = Path(options.folder), samples[options.child]
            if options.engine == "atheris":
                atheris_child(options.child, paths, folder, options.fuzzer)
            mutations_child(options.child, paths, options.seconds, options.seed, folder)
            return
        names = options.formats.split(",") if options.formats else sorted(samples)
        run = fuzz_with_atheris if options.engine == "atheris" else fuzz_with_mutations
        for name in names:
            folder = Path(temporary) / name
            folder.mkdir()
            result = run(name, samples[name], options.seconds, folder)
            print(f"{name:<15} {result}", flush=True)
            table = report(options.engine, options.seconds, {name: result}, options.record)
    print(table)


def report(engine: str, seconds: float, results: dict[str, Any], record: bool) -> str:
    """Merge this engine's figures into the JSON and the table, which comes back."""
    out = HERE / ("results" if record else "out")
    out.mkdir(exist_ok=True)
    path = out / "fuzz_formats.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    figures.setdefault(engine, {}).update({name: {"seconds": seconds, **result} for name, result in results.items()})
    path.write_text(json.dumps(figures, indent=1) + "\n")
    lines = ["# Fuzzing the readers", "", "`python benchmarks/fuzz_formats.py --seconds N --engine ENGINE --record`", ""]
    lines += ["| engine | format | seconds | inputs | refused cleanly | edges reached | crashes |", "|---|---|---|---|---|---|---|"]
    for engine_name, rows in figures.items():
        for name, row in sorted(rows.items()):
            cells = [engine_name, name, f"{row['seconds']:g}", f"{row['tried']:,}"]
            cells += [f"{row['refused']:,}" if "refused" in row else "not counted", str(row.get("edges") or ""), str(len(row["crashes"]))]
            lines.append("| " + " | ".join(cells) + " |")
    total = sum(row["tried"] for rows in figures.values() for row in rows.values())
    crashes = sum(len(row["crashes"]) for rows in figures.values() for row in rows.values())
    lines += ["", f"Inputs tried: {total:,}. Crashes: {crashes}.", ""]
    lines += ["OpenUSD's own parsers are not instrumented: there atheris follows our reader alone, one forked process a file.", ""]
    (out / "fuzz_formats.md").write_text("\n".join(lines))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
