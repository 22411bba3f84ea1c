# SPDX-License-Identifier: GPL-3.0-or-later
"""Install, check and remove the worker's environment from the add-on's preferences; nothing here blocks Blender."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy

from ..errors import ExgsError
from ..worker.client import start_job
from ..worker.environment import state_of
from ..worker.install import check_bundle, remove_environment
from ..worker.lock import LOCK, Cost, Device, cost, fingerprint, likely_device, read_lock
from .job_runner import RUNNER, Task
from .reported import reported
from .user_folder import environment_folder
from .worker_choice import chosen_python, preferences_of

INSTALL_TITLE, DOCTOR_TITLE = "Install the worker", "Doctor"
WITHOUT_WORKER = "Import, viewport, export of PLY, splat and others, and reading .exgs work without the worker."
last_report: list[str] = []
"""What the doctor found last; lives until Blender closes."""


def device_of(preferences: Any) -> Device:
    """The device that is chosen, or that this machine most likely has."""
    return likely_device() if preferences.device == "AUTO" else preferences.device.lower()


def cost_of(preferences: Any) -> Cost:
    """What an installation with these preferences costs."""
    return cost(device_of(preferences), bool(preferences.bundle or preferences.extra_index))


def task_of(title: str) -> Task | None:
    """The task of this name that has not ended."""
    return next((task for task in RUNNER.running if task.title == title), None)


def offline_obstacle(preferences: Any) -> str:
    """Why the packages cannot be fetched, or an empty string."""
    if preferences.bundle or bpy.app.online_access:
        return ""
    return "Blender's online access is off: allow it (Preferences > System > Network), or choose an offline bundle"


def environment_state(preferences: Any) -> str:
    """See ``worker.environment.state_of``."""
    return state_of(environment_folder(), fingerprint(read_lock(LOCK, device_of(preferences))))


def start_installation(preferences: Any, lock: str = "") -> Task:
    """Begin, or go on with what broke off.

    Raises:
        ExgsError: it runs already, Blender is offline, the bundle is no good, or Blender has no Python that can start.
    """
    if task_of(INSTALL_TITLE):
        raise ExgsError("the worker is being installed already")
    if obstacle := offline_obstacle(preferences):
        raise ExgsError(obstacle)
    bundle = bpy.path.abspath(preferences.bundle) if preferences.bundle else ""
    if bundle:
        check_bundle(Path(bundle))
    extra = preferences.extra_index.strip()
    needed = cost_of(preferences)
    params = {
        "folder": str(environment_folder()),
        "device": device_of(preferences),
        "bundle": bundle,
        "extra_index": extra if "://" in extra else bpy.path.abspath(extra),
        "download_mb": 0 if bundle or lock else needed.download,
        "disk_mb": 0 if lock else needed.disk,
        "lock": lock,
    }

    def on_done(result: dict[str, Any]) -> str:
        start_doctor()  # tries it, and compiles what is compiled on first use
        return f"The worker is installed: {result['python']}"

    python = Path(sys.executable)  # Blender's own Python, not Blender
    return RUNNER.add(Task(INSTALL_TITLE, lambda: start_job("install", params, python=python), on_done, lambda: None))


def start_doctor() -> Task:
    """Have the worker look at itself.

    Raises:
        ExgsError: there is no worker; what to do.
    """
    python = chosen_python()

    def on_done(result: dict[str, Any]) -> str:
        last_report[:] = [f"Blender     {bpy.app.version_string}", f"Worker      {python}", *result["lines"]]
        return result["lines"][-1]

    if running := task_of(DOCTOR_TITLE):
        return running
    return RUNNER.add(Task(DOCTOR_TITLE, lambda: start_job("doctor", {}, python=python), on_done, lambda: None))


class InstallWorker(bpy.types.Operator):
    """Fetch the Python packages that compress, render and restore, into a folder of the add-on's own. Blender can be used meanwhile.
    Started again after a break, it goes on where it was"""

    bl_idname = "exgs.install_worker"
    bl_label = "Install Worker"
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        start_installation(preferences_of(context))
        return {"FINISHED"}


class RemoveWorker(bpy.types.Operator):
    """Delete the installed worker and what was downloaded for it; it can be installed again at any time"""

    bl_idname = "exgs.remove_worker"
    bl_label = "Remove Worker"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not RUNNER.running and state_of(environment_folder()) != "absent"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        from .render_session import SESSION

        SESSION.close()  # it runs in the environment that goes away
        remove_environment(environment_folder())
        return {"FINISHED"}


class Doctor(bpy.types.Operator):
    """Try everything that the worker does, and say what works, on which device, and what to do if something does not"""

    bl_idname = "exgs.doctor"
    bl_label = "Doctor"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            start_doctor()
        except ExgsError as error:
            last_report[:] = [f"Blender     {bpy.app.version_string}", f"Worker      {error}", WITHOUT_WORKER]
            self.report({"WARNING"}, str(error))
        return {"FINISHED"}


class CopyDoctorReport(bpy.types.Operator):
    """Copy the doctor's report, for a bug report or a question"""

    bl_idname = "exgs.copy_doctor_report"
    bl_label = "Copy Report"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(last_report)

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = "\n".join(last_report)
        return {"FINISHED"}


CLASSES = (InstallWorker, RemoveWorker, Doctor, CopyDoctorReport)
