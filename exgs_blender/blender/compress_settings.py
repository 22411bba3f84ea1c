# SPDX-License-Identifier: GPL-3.0-or-later
"""The choices of a compression: the same for the panel (``scene.exgs.compress``) and for the operator."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, StringProperty

from ..worker.estimate import Goal

NOT_ANIMATED: set[str] = set()

GOALS = [
    (
        "NEAR_LOSSLESS",
        "Near-lossless",
        "Keep every splat and round it finely: looks the same from everywhere, about 7 times smaller",
    ),
    ("BALANCED", "Balanced (100x)", "A hundredth of the size. Looks like the capture at normal distances; the finest grain turns soft"),
    ("EXTREME", "Extreme (1000x)", "A thousandth of the size, for previews and backgrounds. Shapes and colours stay, detail turns soft"),
    ("RATIO", "Ratio", "So many times smaller than the capture"),
    ("SIZE", "File Size", "As good as it gets in so many megabytes"),
    ("QUALITY", "Quality", "As small as it gets at so many decibels; takes several tries and so several times as long"),
]
VIEWS = [
    ("EVERYWHERE", "Everywhere", "Keep what matters from all around the capture"),
    ("SHOT", "This Shot", "Keep what this scene's camera sees over the frame range: sharper in the shot, poor from anywhere else"),
    ("CAMERAS", "All Cameras", "Keep what any camera of this scene sees over the frame range"),
    (
        "FILE",
        "Camera File",
        "Keep what the cameras of a file see, e.g. the photos that the capture was trained from. Every eighth one judges the result",
    ),
]


class CompressOptions:
    """Annotations that Blender turns into properties of the classes that inherit them."""

    goal: EnumProperty(
        options=NOT_ANIMATED,
        name="Target",
        items=GOALS,
        default="BALANCED",
        description="What the compression aims at. The smaller the file, the softer fine detail becomes",
    )
    ratio: FloatProperty(
        options=NOT_ANIMATED,
        name="Ratio",
        default=100.0,
        min=2.0,
        soft_max=1000.0,
        max=50_000.0,
        precision=0,
        description="How many times smaller the file becomes. A higher ratio keeps fewer splats, so fine detail turns soft",
    )
    size_mb: FloatProperty(
        options=NOT_ANIMATED,
        name="Megabytes",
        default=3.0,
        min=0.001,
        soft_max=100.0,
        precision=2,
        description="Size of the file in megabytes (a million bytes). Less room keeps fewer splats, so fine detail turns soft",
    )
    psnr: FloatProperty(
        options=NOT_ANIMATED,
        name="Decibels",
        default=35.0,
        min=10.0,
        max=60.0,
        precision=1,
        description="How like the capture the picture stays (PSNR, on views set aside for this): "
        "25 is visibly soft, 35 hard to tell apart, above 40 the same",
    )
    views: EnumProperty(
        options=NOT_ANIMATED,
        name="Views",
        items=VIEWS,
        description="From where the compressed capture has to look good",
    )
    cameras_file: StringProperty(
        options=NOT_ANIMATED,
        name="Cameras",
        subtype="FILE_PATH",
        description="cameras.json, transforms.json, a COLMAP folder or an exported shot, in the capture's own coordinates. "
        "What its cameras see stays sharp",
    )
    everywhere: FloatProperty(
        options=NOT_ANIMATED,
        name="Everywhere",
        default=0.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        description="Share of the attention for views from all around, beside the chosen cameras. "
        "0 spends everything on the chosen views; more keeps the capture usable from elsewhere, a little softer in the shot",
    )
    replace_original: BoolProperty(
        options=NOT_ANIMATED,
        name="Show Result",
        default=True,
        description="Show the compressed capture in the original's place when it is ready, and hide the original",
    )


OPTIONS = tuple(CompressOptions.__annotations__)


class CompressProperties(CompressOptions, bpy.types.PropertyGroup):
    """``scene.exgs.compress``"""


def goal_of(options: CompressOptions) -> Goal:
    """What the compress job is asked for."""
    match options.goal:
        case "RATIO":
            return Goal(ratio=options.ratio)
        case "SIZE":
            return Goal(size=round(options.size_mb * 1e6))
        case "QUALITY":
            return Goal(psnr=options.psnr)
        case name:
            return Goal(preset=name.lower().replace("_", "-"))


def set_the_goal_that_was_given(operator: bpy.types.Operator) -> None:
    """A script that names a ratio, a size or a quality means it, whatever the default target is."""
    given = operator.properties
    if given.is_property_set("goal"):
        return
    for name, goal in (("ratio", "RATIO"), ("size_mb", "SIZE"), ("psnr", "QUALITY")):
        if given.is_property_set(name):
            operator.goal = goal
