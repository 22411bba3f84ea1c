# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames as files: multilayer EXR that Blender's compositor reads, and PNG for eyes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..atomic import atomic_path
from ..errors import FileError, MissingDependencyError
from ..render.frame import Frame
from ..splats.gaussians import F32
from .finish import depth_plane, rgba8_straight, rgba_linear

LAYER = "Splat"


def write_exr(path: Path, frame: Frame, restored: Frame) -> None:
    """Multilayer EXR: half-float would lose depth, so all channels are float32, ZIP-compressed, Linear Rec.709, premultiplied.

    Channels ``Splat.Combined.RGBA``, ``Splat.Depth.Z`` (1e10 where nothing is hit), ``Splat.Mask.V`` (1 - opacity before
    restoration) and ``Splat.Unrestored.RGBA``: Blender's Image node gives one output per pass.

    Args:
        frame: as the rasterizer made it.
        restored: after GaussPainter; the same object where it did not run.
    """
    try:
        import OpenEXR
    except ImportError:
        raise MissingDependencyError("OpenEXR", "writing EXR files") from None
    combined, unrestored = rgba_linear(restored), rgba_linear(frame)
    channels: dict[str, F32] = {}
    for layer, image in (("Combined", combined), ("Unrestored", unrestored)):
        for i, letter in enumerate("RGBA"):
            channels[f"{LAYER}.{layer}.{letter}"] = np.ascontiguousarray(image[..., i])
    channels[f"{LAYER}.Depth.Z"] = depth_plane(restored)
    channels[f"{LAYER}.Mask.V"] = (1.0 - frame.alpha).astype(np.float32)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with atomic_path(path) as part:
        try:
            OpenEXR.File(header, channels).write(str(part))
        except RuntimeError as error:
            raise FileError(path, f"cannot be written ({error})", "Check free space and permissions") from error


def write_png(path: Path, restored: Frame) -> None:
    """8-bit sRGB with straight alpha."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependencyError("pillow", "writing PNG files") from None
    with atomic_path(path) as part:
        Image.fromarray(rgba8_straight(restored)).save(part, "PNG", compress_level=4)
