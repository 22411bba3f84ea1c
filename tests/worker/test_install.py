# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's environment, really made: from a bundle of real wheels, without a network."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exgs_blender.errors import CancelledError, ExgsError, FileError
from exgs_blender.worker.client import RunningJob, start_job
from exgs_blender.worker.environment import STAMP, python_in, state_of, worker_python
from exgs_blender.worker.install import install, remove_environment
from exgs_blender.worker.lock import LOCK, cost, fingerprint, read_lock
from exgs_blender.worker.protocol import Done, Failed, Progress

from .wheels import make_bundle, make_wheel


def _install(tmp_path: Path, bundle: Path, lock: Path, report: Callable[[str, float], None] | None = None) -> dict[str, Any]:
    return install(str(tmp_path / "worker"), bundle=str(bundle), lock=str(lock), report=report or (lambda *_: None))


def test_installs_checks_resumes_and_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One environment through its life: making one takes seconds, so it is made once."""
    monkeypatch.delenv("EXGS_PYTHON", raising=False)
    home = tmp_path / "worker"
    bundle, lock = make_bundle(tmp_path, exgs_one="x = 1", exgs_two="import exgs_one")
    assert state_of(home) == "absent"
    with pytest.raises(ExgsError, match="not installed"):
        worker_python(own=home)
    _cancelled_half_way(tmp_path, bundle, lock)
    _bad_bundles(tmp_path, bundle, lock)
    heard: list[tuple[str, float]] = []
    result = _install(tmp_path, bundle, lock, lambda stage, fraction: heard.append((stage, fraction)))
    fractions = [fraction for _, fraction in heard]
    assert fractions == sorted(fractions), "progress goes backwards"
    assert fractions[-1] == 1.0
    assert {"making the environment", "unpacking", "checking"} <= {stage for stage, _ in heard}
    python = python_in(home)
    assert result["python"] == str(python)
    assert worker_python(own=home) == python
    assert subprocess.run([str(python), "-I", "-c", "import exgs_two"], check=False).returncode == 0
    wanted = fingerprint(read_lock(lock, "cpu"))
    assert state_of(home, wanted) == "ready"
    assert state_of(home, "another") == "outdated"
    assert not (home / "downloads").exists()
    _what_does_not_start(tmp_path, bundle, lock, home)
    python.unlink()
    _install_again_when_broken(tmp_path, bundle, lock, home)
    remove_environment(home)
    assert state_of(home) == "absent"


def _cancelled_half_way(tmp_path: Path, bundle: Path, lock: Path) -> None:
    """Cancelled after the environment was made: it stays, without a stamp, and is not taken for whole."""

    def stop(stage: str, fraction: float) -> None:
        if fraction > 0.05:
            raise CancelledError()

    with pytest.raises(CancelledError):
        _install(tmp_path, bundle, lock, stop)
    home = tmp_path / "worker"
    assert state_of(home) == "interrupted"
    assert python_in(home).is_file(), "what was complete is gone"
    assert not (home / STAMP).exists()
    with pytest.raises(ExgsError, match="not finished"):
        worker_python(own=home)


def _bad_bundles(tmp_path: Path, bundle: Path, lock: Path) -> None:
    home = tmp_path / "worker"
    whole = (bundle / "exgs_two-1.0-py3-none-any.whl").read_bytes()
    broken = tmp_path / "broken"
    make_wheel(broken, "exgs_one")
    (broken / "exgs_two-1.0-py3-none-any.whl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"exgs_two.*not whole"):
        _install(tmp_path, broken, lock)
    with pytest.raises(FileError, match="not a folder with wheels"):
        _install(tmp_path, tmp_path / "nothing", lock)
    longer = tmp_path / "longer.lock"
    longer.write_text(lock.read_text() + "exgs_three==1.0\n")
    with pytest.raises(ExgsError, match=r"lacks exgs_three==1.0 for Python 3\.\d+ on") as caught:
        _install(tmp_path, bundle, longer)
    assert "\n" not in str(caught.value)
    assert state_of(home) == "interrupted", "a failed installation looks whole"


def _what_does_not_start(tmp_path: Path, bundle: Path, lock: Path, home: Path) -> None:
    """A package that is installed but raises at import is found by the check, and the stamp of before is gone."""
    lock.write_text(lock.read_text() + "exgs_bad==1.0  # import exgs_bad\n")
    make_wheel(bundle, "exgs_bad", code="raise OSError('no such library')")
    with pytest.raises(ExgsError, match=r"exgs_bad does not start.*no such library"):
        _install(tmp_path, bundle, lock)
    assert state_of(home) == "interrupted"
    lock.write_text("".join(line for line in lock.read_text().splitlines(keepends=True) if "bad" not in line))


def _install_again_when_broken(tmp_path: Path, bundle: Path, lock: Path, home: Path) -> None:
    """The Blender that made it is gone: its Python does not start, and installing makes a new one."""
    (home / STAMP).write_text(json.dumps({"lock": "x"}))
    assert state_of(home) == "broken"
    with pytest.raises(ExgsError, match="is gone"):
        worker_python(own=home)
    _install(tmp_path, bundle, lock)
    assert state_of(home) == "ready"


def test_as_a_job_that_is_killed(tmp_path: Path) -> None:
    """By the Python that Blender would start it with; killed, the next attempt goes on and ends well."""
    bundle, lock = make_bundle(tmp_path, exgs_one="x = 1")
    params = {"folder": str(tmp_path / "worker"), "bundle": str(bundle), "lock": str(lock)}
    killed = start_job("install", params, python=Path(sys.executable), log_dir=tmp_path)
    while not any(isinstance(message, Progress) for message in killed.poll()):
        time.sleep(0.01)
    killed._process.kill()
    assert isinstance(_ended(killed), Failed)
    assert state_of(tmp_path / "worker") in ("absent", "interrupted")
    done = _ended(start_job("install", params, python=Path(sys.executable), log_dir=tmp_path))
    assert isinstance(done, Done), done
    assert state_of(tmp_path / "worker", done.result["lock"]) == "ready"


def _ended(job: RunningJob) -> object:
    while True:
        for message in job.poll():
            if isinstance(message, (Done, Failed)):
                return message
        time.sleep(0.02)


def test_no_room(tmp_path: Path) -> None:
    with pytest.raises(ExgsError, match="free space"):
        install(str(tmp_path / "worker"), disk_mb=10**9)
    assert not (tmp_path / "worker").exists()


def test_the_list_pins_what_the_worker_needs() -> None:
    from exgs_blender.worker.environment import OPTIONAL, REQUIRED

    pins = read_lock(LOCK, "cpu")
    modules = {pin.module for pin in pins}
    assert set(REQUIRED) <= modules
    assert modules - {""} <= {*REQUIRED, *OPTIONAL, "tqdm"}
    assert len({pin.name.lower() for pin in pins}) == len(pins)
    assert cost("cpu", True).download > 100


@pytest.mark.parametrize("line", ["torch", "torch>=2", "torch==1 torch==2", "-e ."])
def test_a_line_without_a_version(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.lock"
    path.write_text(f"numpy==1.0\n{line}\n")
    with pytest.raises(FileError, match="line 2"):
        read_lock(path, "cpu")
