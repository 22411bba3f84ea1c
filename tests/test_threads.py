# SPDX-License-Identifier: GPL-3.0-or-later
"""Idle threads sleep: the policy reaches every process that computes, and a user's own stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exgs_blender.threads import sleep_while_waiting
from exgs_blender.worker.process import WorkerProcess

POLICY = "OMP_WAIT_POLICY"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to see another process's environment")
@pytest.mark.parametrize(("mine", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_the_worker_gets_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mine: str | None, expected: str) -> None:
    monkeypatch.delenv(POLICY, raising=False)
    if mine:
        monkeypatch.setenv(POLICY, mine)
    worker = WorkerProcess("server", Path(sys.executable), tmp_path)
    try:
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
    finally:
        worker.close()
    assert f"{POLICY}={expected}".encode() in environment


def test_it_is_set_before_openmp_is_loaded_by_the_command_line() -> None:
    code = (
        "import os, sys; os.environ.pop('OMP_WAIT_POLICY', None)\n"
        "from exgs_blender.cli import main\n"
        "assert not {'torch', 'numba'} & set(sys.modules)\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "PASSIVE"


def test_what_is_set_stays() -> None:
    environment = {POLICY: "ACTIVE"}
    sleep_while_waiting(environment)
    assert environment == {POLICY: "ACTIVE"}
