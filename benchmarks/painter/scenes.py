# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenes, and which of their views score and which judge."""

from __future__ import annotations

import os
from pathlib import Path

from exgs_blender.cameras import Cameras, read_cameras
from exgs_blender.evaluate.held_out import held_out_views, training_views
from exgs_blender.formats import registry
from exgs_blender.splats import Gaussians

DATA = Path(os.environ.get("EXGS_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
HELD_OUT = ("biker", "snowmiku-trained")
"""Never trained, tuned or stopped on."""
VALIDATION = ("guitar",)
FILES = {"biker": "biker.spz", "guitar": "guitar.compressed.ply", "playbot": "playbot/0_0"}


def role(name: str) -> str:
    """What the painter's training knew of a scene."""
    return "held out" if name in HELD_OUT else "validation" if name in VALIDATION else "trained on"


def load(name: str) -> tuple[Gaussians, Cameras, Cameras]:
    """(scene, views to score with, views to judge on), which share no view."""
    folder = DATA / "scenes"
    if name in FILES:
        scene = registry.read(folder / FILES[name])
        return scene, training_views(scene), held_out_views(scene, count=8)
    scene, cameras = registry.read(folder / name / "point_cloud.ply"), read_cameras(folder / name / "cameras.json")
    return scene, training_views(scene, cameras), held_out_views(scene, cameras, count=13)
