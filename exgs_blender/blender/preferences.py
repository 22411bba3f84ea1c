# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: the worker's environment, made here or named."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import EnumProperty, StringProperty

from ..errors import ExgsError
from ..worker.lock import has_cuda_toolkit
from .job_runner import RUNNER
from .ops_compress import CancelJob
from .setup_worker import (
    DOCTOR_TITLE,
    INSTALL_TITLE,
    WITHOUT_WORKER,
    CopyDoctorReport,
    Doctor,
    InstallWorker,
    RemoveWorker,
    cost_of,
    device_of,
    environment_state,
    last_report,
    offline_obstacle,
)
from .user_folder import ADDON
from .worker_choice import chosen_python
from .wrapping import wrapped_label

BUTTONS = {"absent": "Install", "interrupted": "Continue", "broken": "Install Again", "outdated": "Update", "ready": "Install Again"}
DEVICE_NOTES = {
    "cpu": "Everything runs on the processor.",
    "mps": "Everything runs on the processor; Apple's GPU is not used yet.",
}


class ExgsPreferences(bpy.types.AddonPreferences):
    bl_idname = ADDON

    worker_python: StringProperty(
        name="Worker Python",
        subtype="FILE_PATH",
        description="The Python program that compresses, renders and restores, outside Blender. "
        "Empty takes the one that ExGS installed for itself",
    )
    device: EnumProperty(
        name="Device",
        items=[
            ("AUTO", "Automatic", "Choose by what this machine has"),
            ("CPU", "CPU", "Render and restore on the processor: works everywhere"),
            ("CUDA", "CUDA (NVIDIA)", "Restore on an NVIDIA graphics card; render on it, too, where NVIDIA's CUDA toolkit is installed"),
            ("MPS", "Apple", "A Mac with Apple's own processor"),
        ],
        description="What the worker's packages are chosen for. It changes how fast pictures are made, not how they look",
    )
    bundle: StringProperty(
        name="Offline Bundle",
        subtype="DIR_PATH",
        description="Folder of Python wheels to install the worker from, without any network. The README says how to make one",
    )
    extra_index: StringProperty(
        name="Extra Index",
        description="Second package index, an address or a folder, for example one that has a torch without CUDA, which saves gigabytes",
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "worker_python")
        try:
            wrapped_label(layout, f"Worker: {chosen_python()}", icon="CHECKMARK")
        except ExgsError:
            wrapped_label(layout, f"No worker yet. {WITHOUT_WORKER}", icon="INFO")
        self._draw_installation(layout.box().column())
        self._draw_doctor(layout.box().column())

    def _draw_installation(self, box: Any) -> None:
        state = environment_state(self)
        box.label(text="The worker's own environment", icon="PACKAGE")
        box.prop(self, "device")
        box.prop(self, "bundle")
        box.prop(self, "extra_index")
        wrapped_label(box, device_note(self))
        wrapped_label(box, f"From {self.bundle}" if self.bundle else f"About {cost_of(self)}")
        obstacle = offline_obstacle(self)
        if obstacle:
            wrapped_label(box, obstacle, icon="INTERNET_OFFLINE")
            if hasattr(bpy.types, "EXTENSIONS_OT_userpref_allow_online"):
                box.operator("extensions.userpref_allow_online", text="Allow Online Access", icon="INTERNET")
        row = box.row()
        button = row.row()
        button.enabled = not obstacle and not any(task.title == INSTALL_TITLE for task in RUNNER.running)
        button.operator(InstallWorker.bl_idname, text=BUTTONS[state], icon="IMPORT")
        if state != "absent":
            row.operator(RemoveWorker.bl_idname, icon="TRASH")
        draw_own_jobs(box, INSTALL_TITLE)

    def _draw_doctor(self, box: Any) -> None:
        box.operator(Doctor.bl_idname, icon="VIEWZOOM")
        draw_own_jobs(box, DOCTOR_TITLE)
        for line in last_report:
            wrapped_label(box, line)
        if last_report:
            box.operator(CopyDoctorReport.bl_idname, icon="COPYDOWN")


def device_note(preferences: Any) -> str:
    """What the chosen device means for this machine."""
    device = device_of(preferences)
    if device != "cuda":
        return DEVICE_NOTES[device]
    if has_cuda_toolkit():
        return "Renders and restores on the graphics card. The first frame builds gsplat's kernels, which takes minutes."
    return "Restores on the graphics card. Renders on the processor: for the card NVIDIA's CUDA toolkit is missing."


def draw_own_jobs(layout: Any, title: str) -> None:
    """Progress and end of the jobs of one kind."""
    for index, task in enumerate(RUNNER.running):
        if task.title == title:
            row = layout.row()
            row.progress(factor=task.fraction, text=task.words)
            row.operator(CancelJob.bl_idname, text="", icon="X").index = index
    ended = next((task for task in RUNNER.ended if task.title == title), None)
    if ended is not None and ended.state != "done":
        wrapped_label(layout, ended.message, icon="ERROR" if ended.state == "failed" else "X")


CLASSES = (ExgsPreferences,)
