# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that does the slow work of drawing, one task at a time, the latest of each kind. Standard library only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from typing import Any

log = logging.getLogger(__name__)


class LatestTasks:
    """Runs functions in a thread of its own; of tasks under one name that wait, only the latest is kept.

    numpy's sorts and copies let go of Python's lock, so Blender's window goes on meanwhile.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: dict[Hashable, Callable[[], Any]] = {}
        self._running: Hashable | None = None
        self._results: dict[Hashable, Any] = {}
        self._thread: threading.Thread | None = None

    def submit(self, name: Hashable, task: Callable[[], Any]) -> None:
        """Run ``task`` as soon as the thread is free, in place of a task of this name that still waits."""
        with self._condition:
            self._waiting[name] = task
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="exgs-viewport", daemon=True)
                self._thread.start()
            self._condition.notify_all()

    def take(self, name: Hashable) -> Any:
        """What the last finished task of this name returned, once; None where there is nothing new."""
        with self._condition:
            return self._results.pop(name, None)

    @property
    def busy(self) -> bool:
        """Whether a task waits or runs."""
        with self._condition:
            return bool(self._waiting) or self._running is not None

    @property
    def has_results(self) -> bool:
        with self._condition:
            return bool(self._results)

    def pending(self, name: Hashable) -> bool:
        """Whether a task of this name waits or runs."""
        with self._condition:
            return name in self._waiting or self._running == name

    def forget(self, name: Hashable) -> None:
        """Drop what waits and what has come under a name."""
        with self._condition:
            self._waiting.pop(name, None)
            self._results.pop(name, None)

    def wait(self, timeout: float = 60.0) -> bool:
        """Until nothing waits or runs; False where that took longer than ``timeout`` seconds."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._waiting and self._running is None, timeout)

    def close(self) -> None:
        """Drop everything and end the thread; a later :meth:`submit` starts a new one."""
        with self._condition:
            self._waiting.clear()
            self._results.clear()
            thread, self._thread = self._thread, None
            self._condition.notify_all()
        if thread is not None:
            thread.join(10)
        with self._condition:
            self._results.clear()

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._thread is not me)
                if self._thread is not me:
                    return
                name = next(iter(self._waiting))
                task = self._waiting.pop(name)
                self._running = name
            try:
                result = task()
            except Exception:  # a bug: the view keeps what it has, the log says why
                log.exception("viewport task %s", name)
                result = None
            with self._condition:
                self._running = None
                if result is not None and self._thread is me:
                    self._results[name] = result
                self._condition.notify_all()
