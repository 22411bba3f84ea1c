# SPDX-License-Identifier: GPL-3.0-or-later
"""One job process: read the job from stdin, run it, report, end."""

from __future__ import annotations

import importlib
import time
import traceback
from typing import Any

from ..errors import CancelledError, ExgsError
from .channel import Channel
from .protocol import Done, Failed, Message, Progress, decode_job, encode

PROGRESS_INTERVAL_SECONDS = 0.05
LIGHT_JOBS = {"install": "install", "doctor": "doctor"}
"""Job -> the module of this folder with a function of that name. They run where the worker's packages are missing."""


class Reporter:
    """Progress as protocol lines, at most twenty a second; raises CancelledError once the client asked to stop."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._last = ("", 0.0)

    def __call__(self, stage: str, fraction: float) -> None:
        self._channel.check_cancelled()
        last_stage, last_time = self._last
        now = time.monotonic()
        if stage != last_stage or fraction >= 1.0 or now - last_time > PROGRESS_INTERVAL_SECONDS:
            self._last = (stage, now)
            self._channel.write(encode(Progress(stage, min(max(float(fraction), 0.0), 1.0))))


def main() -> int:
    """Returns the process's exit code: 0 done, 1 failed, 130 cancelled."""
    channel = Channel()
    line = channel.lines.get()
    message = _run(line or "", channel)
    channel.write(encode(message))
    if isinstance(message, Failed):
        return 130 if message.cancelled else 1
    return 0


def _function(name: str) -> Any:
    """The job's function, None where this worker has none of that name."""
    if name in LIGHT_JOBS:
        return getattr(importlib.import_module(f"{__package__}.{LIGHT_JOBS[name]}"), name)
    from .jobs import JOBS

    return JOBS.get(name)


def _run(line: str, channel: Channel) -> Message:
    try:
        job = decode_job(line)
        function = _function(job.name)
        if function is None:
            return Failed(f"this worker knows no job '{job.name}'; the add-on and the worker are of different versions")
        return Done(function(report=Reporter(channel), **job.params))
    except CancelledError as error:
        return Failed(str(error), "CancelledError", cancelled=True)
    except ExgsError as error:
        traceback.print_exc()
        return Failed(str(error), type(error).__name__)
    except MemoryError as error:
        traceback.print_exc()
        return Failed(f"out of memory ({error}); close other programs or use fewer Gaussians", "MemoryError")
    except Exception as error:  # a bug: the log has the traceback, the user one line
        traceback.print_exc()
        return Failed(f"unexpected {type(error).__name__}: {error}", type(error).__name__)
