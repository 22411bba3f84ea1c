# SPDX-License-Identifier: GPL-3.0-or-later
"""Background jobs seen from Blender: a plain ``poll()``, called by a timer in the window and by hand elsewhere.

Blender's timers never fire in the bpy module and in ``blender -b``; there :meth:`JobRunner.wait` does the polling.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import bpy

from ..errors import ExgsError
from ..worker.client import RunningJob, start_job
from ..worker.protocol import Done, Failed, Message, Progress
from .preferences import chosen_python

TICK_SECONDS = 0.2
STATUS_SECONDS = 20.0
State = Literal["running", "done", "failed", "cancelled"]


@dataclass(eq=False)
class Task:
    """A job with what to do when it is done, and what the panel shows.

    Attributes:
        title: what the user started, e.g. "Compress garden".
        on_done: called once with the job's result; returns the line that tells the user what came of it.
        tidy: called once at the end, however the job ended.
    """

    title: str
    job: RunningJob
    on_done: Callable[[dict[str, Any]], str]
    tidy: Callable[[], None]
    stage: str = "starting"
    fraction: float = 0.0
    state: State = "running"
    message: str = ""

    def cancel(self) -> None:
        self.stage = "stopping"
        self.job.cancel()


class JobRunner:
    """All running tasks, and the last ones that ended."""

    KEEP_ENDED = 3

    def __init__(self) -> None:
        self.running: list[Task] = []
        self.ended: list[Task] = []

    def start(
        self,
        title: str,
        name: str,
        params: dict[str, Any],
        on_done: Callable[[dict[str, Any]], str],
        tidy: Callable[[], None] = lambda: None,
    ) -> Task:
        """Start a job of the worker; ``tidy`` is called even if that fails.

        Raises:
            ExgsError: there is no worker, or it cannot be started.
        """
        try:
            job = start_job(name, params, python=chosen_python())
        except ExgsError:
            tidy()
            raise
        task = Task(title, job, on_done, tidy)
        self.running.append(task)
        if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=TICK_SECONDS)
        return task

    def poll(self) -> list[Task]:
        """Take the news of all jobs; returns the tasks that ended since the last call (each is returned once)."""
        finished = []
        for task in self.running:
            for message in task.job.poll():
                _apply(task, message)
            if task.state != "running":
                finished.append(task)
        for task in finished:
            self.running.remove(task)
            task.tidy()
        self.ended = [*finished, *self.ended][: self.KEEP_ENDED]
        return finished

    def wait(self, task: Task) -> None:
        """Poll until a task has ended."""
        while task.state == "running":
            self.poll()
            time.sleep(0.02)

    def stop(self) -> None:
        """Cancel everything and wait for it: Blender is closing or the add-on goes away."""
        for task in self.running:
            task.cancel()
        for task in list(self.running):
            self.wait(task)


def _apply(task: Task, message: Message) -> None:
    match message:
        case Progress(stage=stage, fraction=fraction):
            task.stage, task.fraction = stage, fraction
        case Failed(message=text, cancelled=cancelled):
            task.state, task.message = ("cancelled" if cancelled else "failed"), text
        case Done(result=result):
            try:
                task.message = task.on_done(result)
                task.state = "done"
            except ExgsError as error:
                task.state, task.message = "failed", str(error)


RUNNER = JobRunner()


def _tick() -> float | None:
    for task in RUNNER.poll():
        _tell(task)
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "PROPERTIES"):
                area.tag_redraw()
    return TICK_SECONDS if RUNNER.running else None


def _tell(task: Task) -> None:
    """Show how a task ended; failures pop up, good news goes through the status bar and stays in the panel and the console."""
    print(f"ExGS: {task.title}: {task.message}")
    if task.state == "done":
        _show_status(task.message)
    if task.state != "failed":
        return
    windows = bpy.context.window_manager.windows
    with bpy.context.temp_override(window=windows[0]) if windows else contextlib.nullcontext():
        bpy.context.window_manager.popup_menu(lambda menu, _: menu.layout.label(text=task.message), title=task.title, icon="ERROR")


def _show_status(text: str | None) -> None:
    """Put a line into the status bar for a while; None gives the bar back to Blender."""
    for window in bpy.context.window_manager.windows:
        with bpy.context.temp_override(window=window):
            window.workspace.status_text_set(text)
    if bpy.app.timers.is_registered(_clear_status):
        bpy.app.timers.unregister(_clear_status)
    if text is not None:
        bpy.app.timers.register(_clear_status, first_interval=STATUS_SECONDS)


def _clear_status() -> None:
    _show_status(None)


def unregister() -> None:
    RUNNER.stop()
    for timer in (_tick, _clear_status):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
