# SPDX-License-Identifier: GPL-3.0-or-later
"""Real worker processes: result, failure, cancel, death."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from exgs_blender.errors import CancelledError, ExgsError
from exgs_blender.formats import read, write
from exgs_blender.worker.client import RunningJob, run_job, start_job
from exgs_blender.worker.protocol import (
    Done,
    Failed,
    Job,
    Message,
    Progress,
    decode,
    decode_job,
    encode,
    encode_job,
)
from tests.clouds import random_gaussians

PYTHON = Path(sys.executable)
PATIENCE_SECONDS = 120.0


def _finish(job: RunningJob) -> list[Message]:
    messages: list[Message] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not job.finished:
        assert time.monotonic() < deadline, messages
        messages += job.poll()
        time.sleep(0.01)
    return messages


def _until_progress(job: RunningJob, stage: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for message in job.poll():
            assert isinstance(message, Progress), message
            if message.stage == stage:
                return
        time.sleep(0.01)
    raise AssertionError(f"no progress in stage {stage}")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that scoring it takes seconds."""
    path = tmp_path_factory.mktemp("capture") / "capture.ply"
    write(path, random_gaussians(60_000, 1))
    return path


def test_messages_round_trip() -> None:
    for message in (Progress("score", 0.5), Done({"a": [1, "ä"]}), Failed("no", "FileError", True)):
        assert decode(encode(message)) == message
    assert decode_job(encode_job(Job("convert", {"source": "x"}))) == Job("convert", {"source": "x"})


@pytest.mark.parametrize("line", ["", "hello", "[]", "{}", '{"event": "progress"}', '{"event": "other", "x": 1}'])
def test_stray_lines_are_no_messages(line: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(line)


def test_job_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="reinstall"):
        decode_job(encode_job(Job("convert", {}, version=99)))


def test_convert_reports_and_writes(capture: Path, tmp_path: Path) -> None:
    job = start_job("convert", {"source": str(capture), "target": str(tmp_path / "out.ply")}, python=PYTHON, log_dir=tmp_path)
    messages = _finish(job)
    assert isinstance(messages[-1], Done)
    assert {m.stage for m in messages if isinstance(m, Progress)} >= {"read", "write"}
    assert len(read(tmp_path / "out.ply")) == 60_000
    assert job.poll() == []


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.ply").touch()
    with pytest.raises(ExgsError, match=r"empty\.ply: file is empty") as caught:
        run_job("convert", {"source": str(tmp_path / "empty.ply"), "target": str(tmp_path / "out.ply")}, python=PYTHON)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.ply").exists()


def test_unknown_job_and_parameter() -> None:
    with pytest.raises(ExgsError, match="knows no job 'fly'"):
        run_job("fly", {}, python=PYTHON)
    with pytest.raises(ExgsError, match="unexpected TypeError"):
        run_job("convert", {"colour": 1}, python=PYTHON)


def test_missing_python_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExgsError, match="cannot be started"):
        start_job("convert", {}, python=tmp_path / "python", log_dir=tmp_path)


def test_cancel_leaves_nothing(capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.exgs"
    job = start_job("compress", {"source": str(capture), "target": str(target), "views": 400}, python=PYTHON, log_dir=tmp_path / "log")
    _until_progress(job, "score views")
    job.cancel()
    last = _finish(job)[-1]
    assert isinstance(last, Failed)
    assert last.cancelled
    assert [p.name for p in tmp_path.iterdir()] == ["log"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_worker_is_explained(capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.exgs"
    job = start_job("compress", {"source": str(capture), "target": str(target), "views": 400}, python=PYTHON, log_dir=tmp_path / "log")
    _until_progress(job, "score views")
    (tmp_path / f".out.{job.pid}.part.exgs").touch()  # as if it was killed while it wrote
    os.kill(job.pid, signal.SIGKILL)
    last = _finish(job)[-1]
    assert isinstance(last, Failed)
    assert "SIGKILL" in last.message
    assert "log" in last.message
    assert [p.name for p in tmp_path.iterdir()] == ["log"]


def test_a_listener_that_raises_cancels(capture: Path, tmp_path: Path) -> None:
    def stop(stage: str, fraction: float) -> None:
        if stage == "score views":
            raise CancelledError

    with pytest.raises(CancelledError):
        run_job("compress", {"source": str(capture), "target": str(tmp_path / "o.exgs"), "views": 400}, python=PYTHON, report=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", ["score views", "judge"])
def test_cancelled_before_the_end_nothing_is_written(stage: str, tmp_path: Path) -> None:
    """Also while the result is judged: the asset is written after that."""
    source = tmp_path / "source.ply"
    write(source, random_gaussians(2000, 1))

    def stop(found: str, fraction: float) -> None:
        if found == stage:
            raise CancelledError

    params = {"source": str(source), "target": str(tmp_path / "o.exgs"), "ratio": 10.0, "views": 4, "page": "beside"}
    with pytest.raises(CancelledError):
        run_job("compress", params, python=PYTHON, report=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["source.ply"]
