# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a .blend file remembers: one property group on the scene, one on the object."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, BoolVectorProperty, CollectionProperty, EnumProperty, FloatProperty, PointerProperty, StringProperty

from ..worker.protocol import RenderSettings
from . import compositor
from .compress_settings import CompressProperties
from .viewport.properties import ViewportProperties

NOT_ANIMATED: set[str] = set()
"""The engine reads the settings once a frame from the original scene, where keyframes would not show."""

RAY_FLAGS = ("camera", "diffuse", "glossy", "transmission", "volume_scatter", "shadow")
"""Ray visibility of an object, in the order in which :class:`HiddenObject` keeps it."""


def _blend_anew(settings: SceneProperties, context: bpy.types.Context) -> None:
    compositor.blend(settings.id_data, settings.blending)


class HiddenObject(bpy.types.PropertyGroup):
    """A splat object that compositing hid from the CG renderer, and how it was before."""

    object: PointerProperty(type=bpy.types.Object, description="The capture that the CG renderer does not draw")
    visible: BoolVectorProperty(size=len(RAY_FLAGS), description="Which rays saw it before; removing the compositing gives that back")


class SceneProperties(bpy.types.PropertyGroup):
    """``scene.exgs``"""

    restore: BoolProperty(
        options=NOT_ANIMATED,
        name="Restore",
        default=True,
        description="Repair each frame with GaussPainter: closes holes and softens the spots that compression leaves. "
        "Off shows the splats exactly as they are stored",
    )
    restore_strength: FloatProperty(
        options=NOT_ANIMATED,
        name="Strength",
        default=1.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        description="How much of the repair is mixed into the picture: 0 leaves it as it is, 1 takes the whole repair",
    )
    stabilise: BoolProperty(
        options=NOT_ANIMATED,
        name="Stabilise",
        default=True,
        description="Keep the repair from flickering: average it with that of the four frames before, along the surfaces that the camera "
        "moves past. Only the repair is averaged, so the splats themselves stay as sharp. The first frame of a render takes longer",
    )
    rasterize_mode: EnumProperty(
        options=NOT_ANIMATED,
        name="Footprint",
        items=[
            ("classic", "Classic", "As most captures were trained. Thin splats grow brighter when seen from far away"),
            (
                "antialiased",
                "Antialiased",
                "Keeps fine detail from swelling at a distance. Right for captures that were trained with Mip-Splatting",
            ),
        ],
        description="How splats that are smaller than a pixel are drawn",
    )
    blending: EnumProperty(
        options=NOT_ANIMATED,
        name="Blending",
        items=[
            ("LINEAR", "Linear Light", "As the compositor blends everything else. Soft rims of the splats turn a little brighter"),
            ("SRGB", "As Trained (sRGB)", "Exactly as captures are trained to be blended: soft rims over the CG look as in a splat viewer"),
        ],
        description="How half-transparent splats mix with the CG picture behind them; opaque ones look the same either way",
        update=_blend_anew,
    )
    compress: PointerProperty(type=CompressProperties, description="What the next compression aims at")
    source_scene: PointerProperty(
        type=bpy.types.Scene,
        name="Composited Into",
        description="The scene whose camera and render settings this splat scene follows",
    )
    hidden: CollectionProperty(type=HiddenObject, description="Captures that compositing hid from the CG renderer")
    shadow_layer: StringProperty(
        name="Shadow Layer", options={"HIDDEN"}, description="View layer whose Shadow Catcher pass compositing switched on, to undo it"
    )
    viewport: PointerProperty(type=ViewportProperties, description="How splats are drawn in the 3D view")

    def render_settings(self, keep_ratio: float, guidance: str = "") -> RenderSettings:
        """What the worker needs to know for a frame."""
        return RenderSettings(
            rasterize_mode=self.rasterize_mode,
            restore=self.restore and self.restore_strength > 0,
            restore_strength=self.restore_strength,
            keep_ratio=keep_ratio,
            guidance=guidance,
        )


class ObjectProperties(bpy.types.PropertyGroup):
    """``object.exgs``"""

    keep_ratio: FloatProperty(
        name="Kept",
        default=1.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        description="Share of the original capture's splats that this one still has. The restoration repairs more where it is low",
    )
    guidance: StringProperty(
        name="Guidance",
        options={"HIDDEN"},
        description="How much of which repair this capture needs, as its compression measured it. The restoration follows it",
    )
    source_path: StringProperty(name="File", subtype="FILE_PATH", description="The splat file that this object was imported from")
    headline: StringProperty(
        name="Quality", description="What the compression of this capture came to, measured on views that it did not use"
    )
    report_path: StringProperty(name="Report", subtype="FILE_PATH", description="The page of the quality report")
    pair: StringProperty(
        name="Pair", options={"HIDDEN"}, description="Text that a capture and its compressed twins share, so that before / after finds them"
    )
    proxy: BoolProperty(
        name="Proxy", options={"HIDDEN"}, description="Whether this mesh is the surface of the capture that it is parented to"
    )
    compressed: BoolProperty(name="Compressed", options={"HIDDEN"}, description="Whether these splats are the result of a compression")


CLASSES = (HiddenObject, CompressProperties, SceneProperties, ObjectProperties)


def register() -> None:
    bpy.types.Scene.exgs = PointerProperty(type=SceneProperties)
    bpy.types.Object.exgs = PointerProperty(type=ObjectProperties)


def unregister() -> None:
    del bpy.types.Object.exgs
    del bpy.types.Scene.exgs
