# SPDX-License-Identifier: GPL-3.0-or-later
"""How Blender and the command line start jobs: start, poll, cancel. Standard library only."""

from __future__ import annotations

import contextlib
import json
import queue
import time
from pathlib import Path
from typing import Any

from ..errors import CancelledError, ExgsError
from ..progress import Report, silent
from .process import WorkerProcess
from .protocol import Done, Failed, Job, Message, decode, encode_job
from .render_client import RenderServer, ServerFrame

__all__ = ["RenderServer", "RunningJob", "ServerFrame", "run_job", "start_job"]

CANCEL_GRACE_SECONDS = 5.0
OUTPUT_PARAMETERS = ("target", "output", "page", "numbers")


class RunningJob:
    """A job in a process of its own. Nothing here blocks; call :meth:`poll` until :attr:`finished`."""

    def __init__(self, process: WorkerProcess, job: Job) -> None:
        self._process = process
        self._job = job
        self._cancelled_at: float | None = None
        self.finished = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log_path(self) -> Path:
        return self._process.log_path

    def poll(self) -> list[Message]:
        """The messages that came since the last call; the last one of a job is Done or Failed, always."""
        messages: list[Message] = []
        while not self.finished:
            try:
                line = self._process.receive()
            except queue.Empty:
                break
            except EOFError:
                messages.append(self._unexpected_end())
                break
            with contextlib.suppress(ValueError, json.JSONDecodeError):  # a stray line is not worth losing the job
                message = decode(line or "")
                messages.append(message)
                self.finished = isinstance(message, (Done, Failed))
        if self.finished:
            self._process.close()
            self._remove_leftovers()
        elif self._cancelled_at is not None and time.monotonic() - self._cancelled_at > CANCEL_GRACE_SECONDS:
            self._process.kill()
        return messages

    def cancel(self) -> None:
        """Ask the job to stop; :meth:`poll` kills it if it has not stopped after five seconds."""
        if not self.finished and self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
            self._process.ask_to_stop()

    def _unexpected_end(self) -> Failed:
        self.finished = True
        if self._cancelled_at is not None:
            return Failed("cancelled", "CancelledError", cancelled=True)
        return Failed(f"job '{self._job.name}' did not finish: {self._process.epitaph()}", "WorkerDied")

    def _remove_leftovers(self) -> None:
        """Delete what a killed writer left beside its target (see ``atomic.atomic_path``)."""
        for name in OUTPUT_PARAMETERS:
            if target := self._job.params.get(name):
                folder = Path(target) if Path(target).is_dir() else Path(target).parent
                for part in folder.glob(f".*.{self.pid}.part*"):
                    part.unlink(missing_ok=True)


def start_job(name: str, params: dict[str, Any], *, python: Path, log_dir: Path | None = None) -> RunningJob:
    """Start the job ``name`` of ``worker.jobs`` with JSON keyword arguments in the worker's Python.

    Raises:
        ExgsError: the interpreter cannot be started.
    """
    process = WorkerProcess("job", python, log_dir)
    job = Job(name, params)
    process.send(encode_job(job))
    return RunningJob(process, job)


def run_job(name: str, params: dict[str, Any], *, python: Path, report: Report = silent) -> dict[str, Any]:
    """Start a job and wait for its result; a listener that raises cancels it.

    Raises:
        CancelledError: it was cancelled.
        ExgsError: it failed; the job's own one-line message.
    """
    job = start_job(name, params, python=python)
    try:
        while True:
            for message in job.poll():
                if isinstance(message, Done):
                    return message.result
                if isinstance(message, Failed):
                    raise CancelledError() if message.cancelled else ExgsError(message.message)
                report(message.stage, message.fraction)
            time.sleep(0.02)
    except BaseException:
        job.cancel()
        deadline = time.monotonic() + 2 * CANCEL_GRACE_SECONDS
        while not job.finished and time.monotonic() < deadline:
            job.poll()
            time.sleep(0.02)
        raise
