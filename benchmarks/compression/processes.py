# SPDX-License-Identifier: GPL-3.0-or-later
"""A program in a process of its own: how long it took and how much memory it had at most.

Between this process and the program stands a small one, this file run as a script: a process's peak memory starts from that
of whoever started it, and this one may hold large clouds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Finished:
    """What a process did.

    Attributes:
        seconds: from its start to its end, start-up included.
        peak_bytes: its largest resident memory.
        output: what it wrote to stdout.
        problem: empty, or why there is no result: the line of what it wrote last that looks like an error, or a passed limit.
    """

    seconds: float
    peak_bytes: int
    output: str
    problem: str


def run(command: Sequence[str | os.PathLike[str]], limit: float, folder: str | os.PathLike[str] | None = None) -> Finished:
    """Run a program to its end, or until ``limit`` seconds have passed."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.json"
        starter = [sys.executable, "-I", "-S", __file__, str(report), str(limit), *(os.fspath(part) for part in command)]
        done = subprocess.run(starter, stdin=subprocess.DEVNULL, capture_output=True, cwd=folder, check=True)
        told = json.loads(report.read_text())
    text, errors = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    problem = ""
    if told["code"] is None:
        problem = f"not finished in {limit:g} s"
    elif told["code"]:
        problem = _telling_line(errors) or f"exit status {told['code']}"
    return Finished(told["seconds"], told["peak_bytes"], text, problem)


def _telling_line(errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "")


def _wait(process: subprocess.Popen[bytes], limit: float) -> tuple[int | None, int]:
    """(exit status, peak bytes); the status is None where the process had to be stopped."""
    deadline = time.perf_counter() + limit
    stopped = False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return None if stopped else process.returncode, usage.ru_maxrss * 1024
        if time.perf_counter() > deadline and not stopped:
            process.kill()
            stopped = True
        time.sleep(POLL_SECONDS)


def _main(report: str, limit: str, *command: str) -> None:
    """Run the command with this process's streams and tell what it cost in a JSON file."""
    start = time.perf_counter()
    code, peak = _wait(subprocess.Popen(command), float(limit))
    Path(report).write_text(json.dumps({"code": code, "peak_bytes": peak, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
