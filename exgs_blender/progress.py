# SPDX-License-Identifier: GPL-3.0-or-later
"""How long work tells how far it is, whoever listens (terminal bar, JSON lines, Blender panel)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

Report = Callable[[str, float], None]
"""``report(stage, fraction)``: a short lower-case phrase and 0..1 within that stage.

A listener cancels the work by raising :class:`exgs_blender.errors.CancelledError` from it.
"""


def silent(stage: str, fraction: float) -> None:
    """A listener that ignores everything."""


def track(items: Iterable[T], stage: str, report: Report, total: int | None = None) -> Iterator[T]:
    """Yield ``items``, reporting before the first and after each one."""
    count = total if total is not None else (len(items) if isinstance(items, Sized) else 0)
    report(stage, 0.0)
    for done, item in enumerate(items, 1):
        yield item
        report(stage, done / count if count else 0.0)


def under(stage: str, report: Report) -> Report:
    """A listener that hears every inner stage under one name."""
    return lambda _, fraction: report(stage, fraction)
