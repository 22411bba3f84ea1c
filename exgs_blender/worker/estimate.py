# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a compression will take, how large its file will be, and how much of a running one is left. Standard library only.

The seconds are those of two cores (``benchmarks/results/scaling.md``); what a machine needed last time corrects them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..atomic import atomic_path

Stage = tuple[str, float]
"""A stage as the worker reports it, and its seconds."""

GENERATED_VIEWS, MOST_FILE_VIEWS = 24, 96
QUALITY_TRIALS = 3
"""Compressions that finding a wanted quality takes on average."""
NEAR_LOSSLESS_BYTES = 0.135
"""Bytes of a near-lossless file for each byte of the capture's PLY: 0.11 to 0.16 on our captures."""
FIRST_SECONDS = 3.0
"""Before this the plan alone says what is left: start-up is no measure of speed."""
SPEED_RANGE = (0.05, 20.0)


@dataclass(frozen=True)
class Goal:
    """What to reach: one of the four, as the compress job takes them."""

    ratio: float = 0.0
    size: int = 0
    psnr: float = 0.0
    preset: str = ""


@dataclass(frozen=True)
class Estimate:
    """``bytes`` is 0 where it depends on the capture (a wanted quality)."""

    stages: tuple[Stage, ...]
    bytes: int

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.stages)


def estimate(count: int, ply_bytes: int, goal: Goal, views: int = 0, everywhere: float = 0.0, speed: float = 1.0) -> Estimate:
    """What a compression will take.

    Args:
        count: Gaussians of the capture.
        ply_bytes: its full size, ``Gaussians.ply_bytes``.
        views: of a camera file or shot; 0 for generated ones.
        everywhere: share of generated views beside them.
        speed: this machine's seconds for one of ours.
    """
    millions = count / 1e6
    looked_at = min(views, MOST_FILE_VIEWS) + (GENERATED_VIEWS if everywhere > 0 or not views else 0)
    part = looked_at / GENERATED_VIEWS
    keep_all = goal.preset == "near-lossless"
    tries = QUALITY_TRIALS if goal.psnr else 1
    refit = 7.0 + 7.0 * part + 26.0 * millions
    rounds: list[Stage] = [
        ("merge", 0.2 + 8.0 * millions),
        ("refit", 0.72 * refit),
        ("code", 1.0 + 6.0 * millions),
        ("refit", 0.28 * refit),
    ]
    if keep_all:
        rounds = [("code", 1.0 + 24.0 * millions)]
    last: list[Stage] = [] if keep_all else [("fit restoration", 9.0 + 6.0 * millions)]
    last.append(("judge", 2.0 + 16.0 * millions))
    stages = [("read", 1.5 + 0.5 * millions), ("score views", part * (1.0 + 10.0 * millions)), *(rounds * tries), *last]
    return Estimate(tuple((name, seconds * speed) for name, seconds in stages), _bytes(ply_bytes, goal))


def _bytes(ply_bytes: int, goal: Goal) -> int:
    if goal.size:
        return goal.size
    if goal.psnr:
        return 0
    ratio = goal.ratio or {"balanced": 100.0, "extreme": 1000.0}.get(goal.preset, 0.0)
    return round(ply_bytes / ratio if ratio else ply_bytes * NEAR_LOSSLESS_BYTES)


class Remaining:
    """Where a job is within its plan, and how long the rest will take.

    A stage that comes again (a second try) is matched with its next place in the plan; nothing ever goes backwards.
    """

    def __init__(self, plan: Sequence[Stage], clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = tuple(plan)
        self._total = sum(seconds for _, seconds in plan) or 1.0
        self._clock = clock
        self._start = clock()
        self._place = 0
        self._done = 0.0

    def update(self, stage: str, fraction: float) -> None:
        """Hear a progress report."""
        later = [i for i in range(self._place, len(self._plan)) if self._plan[i][0] == stage]
        if not later:
            return
        self._place = later[0]
        done = sum(seconds for _, seconds in self._plan[: self._place]) + fraction * self._plan[self._place][1]
        self._done = max(self._done, done)

    @property
    def fraction(self) -> float:
        """0..1 of the whole job."""
        return min(self._done / self._total, 1.0)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def seconds(self) -> float:
        """What is left: by the plan at first, more and more by the pace so far."""
        trust = min(4 * self.fraction, 1.0) if self.elapsed > FIRST_SECONDS else 0.0
        pace = self.elapsed / self._done if self._done else 1.0
        return max((self._total - self._done) * (trust * pace + 1 - trust), 0.0)


def read_speed(path: Path) -> float:
    """This machine's seconds for one of ours, 1 where nothing (sound) is remembered."""
    try:
        value = float(json.loads(path.read_text(encoding="utf-8"))["speed"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1.0
    return min(max(value, SPEED_RANGE[0]), SPEED_RANGE[1]) if value == value else 1.0


def remember_speed(path: Path, planned: float, needed: float) -> None:
    """Correct what is remembered by a job that was planned with it; half of the difference, lest one odd job spoils it."""
    speed = read_speed(path)
    measured = speed * needed / planned if planned > 0 else speed
    with atomic_path(path) as part:
        part.write_text(json.dumps({"speed": round((speed * measured) ** 0.5, 4)}), encoding="utf-8")


def duration(seconds: float) -> str:
    """Seconds for a person: "8 s", "1:20 min", "2:05 h"."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
