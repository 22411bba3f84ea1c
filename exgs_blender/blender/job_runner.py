# SPDX-License-Identifier: GPL-3.0-or-later
"""Background jobs seen from Blender: a plain ``poll()``, called by a timer in the window and by hand elsewhere.

Blender's timers never fire in the bpy module and in ``blender -b``; there :meth:`JobRunner.wait` does the polling.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import bpy

from ..errors import ExgsError
from ..worker.client import RunningJob, start_job
from ..worker.estimate import Remaining, Stage, duration
from ..worker.protocol import Done, Failed, Message, Progress
from .worker_choice import chosen_python

TICK_SECONDS = 0.2
STATUS_SECONDS = 20.0
STOPPING = "stopping"
State = Literal["waiting", "running", "done", "failed", "cancelled"]

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Task:
    """A job with what to do when it is done, and what the panel shows.

    Attributes:
        title: what the user started, e.g. "Compress garden".
        on_done: called once with the job's result; returns the line that tells the user what came of it.
        tidy: called once at the end, however the job ended.
        alone: waits until no other such task runs: jobs that want all of the machine go one after the other.
        plan: the stages and their seconds, where somebody knows them.
        target: the file that it writes, where another job must not write the same one.
    """

    title: str
    start: Callable[[], RunningJob]
    on_done: Callable[[dict[str, Any]], str]
    tidy: Callable[[], None]
    alone: bool = False
    plan: Sequence[Stage] = ()
    target: Path | None = None
    job: RunningJob | None = None
    remaining: Remaining | None = None
    stage: str = "waiting"
    stage_fraction: float = 0.0
    state: State = "waiting"
    message: str = ""

    @property
    def ended(self) -> bool:
        return self.state not in ("waiting", "running")

    @property
    def fraction(self) -> float:
        """0..1 of the whole job where there is a plan, else of the present stage."""
        return self.remaining.fraction if self.remaining and self.plan else self.stage_fraction

    @property
    def words(self) -> str:
        """What the panel and the status bar say: the stage, and how long the rest will take where that is known."""
        if self.state == "running" and self.plan and self.remaining and self.stage != STOPPING:
            return f"{self.stage}, {duration(self.remaining.seconds)} left"
        return self.stage

    def begin(self) -> None:
        """Start the process; a task that cannot start has failed."""
        try:
            self.job = self.start()
        except ExgsError as error:
            self.state, self.message = "failed", str(error)
            return
        self.remaining = Remaining(self.plan)
        self.stage, self.state = "starting", "running"

    def cancel(self) -> None:
        """Ask it to stop; one that waits has ended at once."""
        if self.job is None:
            self.state, self.message = "cancelled", "cancelled"
        else:
            self.stage = STOPPING
            self.job.cancel()


class JobRunner:
    """All tasks that have not ended, in order, and the last ones that have."""

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
        *,
        alone: bool = False,
        plan: Sequence[Stage] = (),
        target: Path | None = None,
    ) -> Task:
        """Start a job of the worker, or let it wait for its turn; ``tidy`` is called even if that fails.

        Raises:
            ExgsError: there is no worker, or it cannot be started.
        """
        try:
            python = chosen_python()
        except ExgsError:
            tidy()
            raise
        return self.add(Task(title, lambda: start_job(name, params, python=python), on_done, tidy, alone, plan, target))

    def add(self, task: Task) -> Task:
        """Take a task on.

        Raises:
            ExgsError: it should start now and cannot.
        """
        if self._may_begin(task):
            task.begin()
            if task.state == "failed":
                task.tidy()
                raise ExgsError(task.message)
        self.running.append(task)
        if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
            # A timer that is not persistent ends with the next file that is opened, and the jobs would never be heard of again.
            bpy.app.timers.register(_tick, first_interval=TICK_SECONDS, persistent=True)
        return task

    def _may_begin(self, task: Task) -> bool:
        return not (task.alone and any(other.alone and other.job is not None and not other.ended for other in self.running))

    def poll(self) -> list[Task]:
        """Take the news of all jobs; returns the tasks that ended since the last call (each is returned once)."""
        for task in self.running:
            for message in task.job.poll() if task.job else ():
                _apply(task, message)
        finished = [task for task in self.running if task.ended]
        for task in finished:
            self.running.remove(task)
            task.tidy()
        self.ended = [*finished, *self.ended][: self.KEEP_ENDED]
        for task in self.running:
            if task.state == "waiting" and self._may_begin(task):
                task.begin()
        return finished

    def wait(self, task: Task) -> None:
        """Poll until a task has ended."""
        while task in self.running:
            self.poll()
            time.sleep(0.02)

    def stop(self) -> None:
        """Cancel everything and wait for it: Blender is closing or the add-on goes away."""
        for task in self.running:
            task.cancel()
        while self.running:
            self.wait(self.running[0])


def _apply(task: Task, message: Message) -> None:
    match message:
        case Progress(stage=stage, fraction=fraction):
            task.stage_fraction = fraction
            if task.stage != STOPPING:
                task.stage = stage
            if task.remaining:
                task.remaining.update(stage, fraction)
        case Failed(message=text, cancelled=cancelled):
            task.state, task.message = ("cancelled" if cancelled else "failed"), text
        case Done(result=result):
            try:
                task.message = task.on_done(result)
                task.state = "done"
            except ExgsError as error:
                task.state, task.message = "failed", str(error)
            except Exception as error:  # a bug: the timer must live on, and the other jobs with it
                log.exception("after %s", task.title)
                task.state, task.message = "failed", f"unexpected {type(error).__name__}: {error}"


RUNNER = JobRunner()


def job_folder() -> Path:
    """A new folder for a job's files, which its ``tidy`` removes. Blender's own temporary folder vanishes with "Load Factory Settings"."""
    return Path(tempfile.mkdtemp(prefix=f"exgs-job-{os.getpid()}-"))


def _tick() -> float | None:
    for task in RUNNER.poll():
        _tell(task)
    redraw()
    return TICK_SECONDS if RUNNER.running else None


def redraw() -> None:
    """Have the panels, the preferences and the status bar drawn again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "PROPERTIES", "PREFERENCES"):
                for region in area.regions:
                    if region.type != "WINDOW" or area.type != "VIEW_3D":  # the splats need no new drawing
                        region.tag_redraw()
    # Scripts do not reach the status bar; it listens to this.
    bpy.msgbus.publish_rna(key=(bpy.types.ViewLayer, "name"))


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
