# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that Blender's process and the worker exchange: dataclasses as JSON lines. Standard library only.

A job process reads one line (a :class:`Job`) from stdin and writes :class:`Progress` lines and at last one
:class:`Done` or :class:`Failed` to stdout. The render server reads one request line after another and answers
each with progress-free single lines. Logs go to stderr.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

PROTOCOL_VERSION = 1

BESIDE = "beside"
"""As the place of a quality report: beside the asset, TARGET.report.html."""


STEADY_FRAMES = 4
"""How many earlier views at most a stabilised frame needs: ``painter.temporal.WINDOW``, which Blender's process does not see."""


@dataclass(frozen=True)
class Job:
    """What to do: the name of a function in ``worker.jobs`` and its keyword arguments (JSON values)."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    version: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class Progress:
    """``stage`` in words, ``fraction`` 0..1 within it."""

    stage: str
    fraction: float


@dataclass(frozen=True)
class Done:
    """The job's result as JSON values."""

    result: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """One line for the user; ``kind`` is the error class; ``cancelled`` where the user wanted it."""

    message: str
    kind: str = "ExgsError"
    cancelled: bool = False


Message = Progress | Done | Failed
_EVENTS: dict[str, type[Progress | Done | Failed]] = {"progress": Progress, "done": Done, "failed": Failed}


@dataclass(frozen=True)
class RenderSettings:
    """How the server renders a frame.

    Attributes:
        rasterize_mode: "classic" (INRIA) or "antialiased" (Mip-Splatting).
        backend: "auto", "gsplat", "cpu", "reference".
        restore: run GaussPainter.
        restore_strength: 0..1, blends the restoration in.
        keep_ratio: Gaussians kept by the compression, 0..1: the painter's guide to how much to repair.
        guidance: what the compressor noted for the painter, see ``ugc.guidance``; empty for nothing.
        checkpoint: folder of another GaussPainter checkpoint; empty for the one in the package.
    """

    rasterize_mode: str = "classic"
    backend: str = "auto"
    restore: bool = True
    restore_strength: float = 1.0
    keep_ratio: float = 1.0
    guidance: str = ""
    checkpoint: str = ""


def encode(message: Message) -> str:
    """A message as one line without its newline."""
    name = next(name for name, kind in _EVENTS.items() if isinstance(message, kind))
    return json.dumps({"event": name, **asdict(message)}, allow_nan=False)


def decode(line: str) -> Message:
    """One line of the worker's stdout.

    Raises:
        ValueError: the line is not a message of this protocol.
    """
    data = json.loads(line)
    if not isinstance(data, dict) or data.get("event") not in _EVENTS:
        raise ValueError(f"not a protocol line: {line[:200]}")
    kind = _EVENTS[data.pop("event")]
    try:
        return kind(**data)
    except TypeError as error:
        raise ValueError(f"not a protocol line: {line[:200]}") from error


def encode_job(job: Job) -> str:
    """A job as one line without its newline."""
    return json.dumps(asdict(job), allow_nan=False)


def decode_job(line: str) -> Job:
    """The job that a process was started for.

    Raises:
        ValueError: not a job, or of another protocol version.
    """
    data = json.loads(line)
    job = Job(**data)
    if job.version != PROTOCOL_VERSION:
        raise ValueError(f"the client speaks protocol {job.version}, this worker {PROTOCOL_VERSION}: reinstall the worker")
    return job
