# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged and hostile files: one clean line of error each, within 2 seconds of CPU and 512 MB, whatever they claim.

Each file is read in a process of its own whose limits the operating system enforces.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .compare import refusal
from .mutate import mutate
from .samples import write_bombs, write_samples

CPU_SECONDS = 2
WALL_SECONDS = 2
"""For USD only the CPU's time is limited: it starts an interpreter for each file."""
MEMORY_BYTES = 512 << 20
REFUSED = {
    "khr/{}.gltf": "khr_extensible_fallback",
    "ply/{}.ply": """duplicate-sh-index empty-vertex invalid-sh-name list-property mesh-not-gaussian missing-opacity nan-opacity-binary-le
        non-contiguous-sh out-of-range-double overflow-scale sh-count-not-rgb sh-invalid-degree truncated-binary-le""",
    "spz/{}.spz": """bad-crc-v2 bad-fhcrc-v2 bad-isize-v2 corrupt-deflate count-exceeds-stream-v2 decode-nonfinite-v1 empty-points-v2
        gzip-not-spz huge-count-v2 not-spz plaintext-v4 sh-degree-5-v2 short-stream trailing-decompressed-v2 truncated-deflate-v2
        truncated-gzip-header truncated-payload-v2 version-0 version-5""",
}
"""The malformed fixtures; all others read, but for a licence among them."""

READER = f"""
import json, os, resource, sys, time
from exgs_blender import formats
from exgs_blender.errors import ExgsError
import numpy, PIL.Image, PIL.WebPImagePlugin, zstandard
try:
    import pxr.Usd, pxr.UsdGeom
except ImportError:
    pass
formats.formats()
for path in sys.stdin.read().splitlines():
    out, into = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        with open("/proc/self/statm") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + {MEMORY_BYTES},) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, ({CPU_SECONDS},) * 2)
        try:
            found = "read " + str(len(formats.read(path)))
        except ExgsError as error:
            found = "refused " + str(error)
        except BaseException as error:
            found = "CRASH " + repr(error)[:300]
        os.write(into, found.encode()[:4000])
        os._exit(0)
    os.close(into)
    text = b""
    while piece := os.read(out, 4096):
        text += piece
    os.close(out)
    _, status = os.waitpid(child, 0)
    found = text.decode() or "KILLED by signal " + str(status & 127)
    seconds = time.monotonic() - start
    if seconds > {WALL_SECONDS} and ".usd" not in path:
        found = f"SLOW, {{seconds:.1f}} s: " + found
    print(json.dumps([path, found]), flush=True)
"""


def read_under_limits(paths: list[Path]) -> dict[Path, str]:
    """What became of each file: "read N", "refused ...", "SLOW ...", "CRASH ..." or "KILLED ..."."""
    names = "\n".join(map(str, paths))
    done = subprocess.run([sys.executable, "-c", READER], input=names, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {Path(path): found for path, found in map(json.loads, done.stdout.splitlines())}


linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of a process are set and measured as Linux does")


def check(results: dict[Path, str], folder: Path) -> None:
    for path, found in results.items():
        assert found.startswith(("read ", "refused ")), f"{path.name}: {found}"
        if found.startswith("refused "):
            assert str(path) in found
            assert "\n" not in found, path.name


@linux_only
def test_every_fixture(data_dir: Path) -> None:
    """All files of the fixtures' folder, good and malformed (their exact errors are in the formats' own tests)."""
    paths = sorted(p for p in (data_dir / "fixtures").rglob("*") if p.is_file() and not p.name.startswith("LICENSE"))
    results = read_under_limits(paths)
    check(results, data_dir)
    assert len(results) == len(paths) > 80
    malformed = {data_dir / "fixtures" / place.format(name) for place, names in REFUSED.items() for name in names.split()}
    assert {path for path, found in results.items() if found.startswith("refused ")} == malformed


@linux_only
def test_bombs(tmp_path: Path) -> None:
    results = read_under_limits(write_bombs(tmp_path))
    check(results, tmp_path)
    assert [path.name for path, found in results.items() if found.startswith("read ")] == []


@linux_only
def test_truncated_anywhere(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "whole")
    paths = []
    for sample in samples:
        if ".usd" in sample.name:  # a process of its own each: see test_usd.test_damaged_crate
            continue
        content = sample.read_bytes()
        for part in range(12):
            path = tmp_path / f"{part}-{sample.name}"
            path.write_bytes(content[: len(content) * part // 12])
            paths.append(path)
    check(read_under_limits(paths), tmp_path)


def test_what_an_error_quotes_is_printable(tmp_path: Path) -> None:
    """Found by the fuzzer: a header whose lines end in CR may hold LF, and a terminal would obey escapes."""
    path = tmp_path / "a.ply"
    path.write_bytes(b"ply\rk\n\x1b[2J\xa0\rend_header\r")
    assert "header line 'k\ufffd\ufffd[2J' is not PLY" in refusal(path)


def test_samples_are_whole(tmp_path: Path) -> None:
    for path in write_samples(tmp_path):
        assert refusal(path) == "", path


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    # OpenUSD's own parsers are not ours to fuzz in this process; see benchmarks/fuzz_formats.py.
    paths = write_samples(tmp_path_factory.mktemp("samples"))
    return [(path.name, path.read_bytes()) for path in paths if ".usd" not in path.name]


@settings(max_examples=1500, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_mutations_of_every_format(tmp_path: Path, samples: list[tuple[str, bytes]], data: st.DataObject, seed: int) -> None:
    """Any damage reads to a valid cloud or ends in one line."""
    name, content = data.draw(st.sampled_from(samples))
    path = tmp_path / name
    path.write_bytes(mutate(content, random.Random(seed)))
    assert "\n" not in refusal(path)
