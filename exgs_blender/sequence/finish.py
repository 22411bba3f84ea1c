# SPDX-License-Identifier: GPL-3.0-or-later
"""A rendered frame made ready for a compositor or a viewer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..render.colour import linear_from_srgb, linear_premultiplied, srgb_from_linear
from ..render.frame import Frame
from ..splats.gaussians import F32

NOTHING_HIT_DEPTH, NOTHING_HIT_ALPHA = 1e10, 1e-4


def rgba_linear(frame: Frame) -> F32:
    """[H, W, 4] premultiplied scene-linear RGBA (Rec.709), as a compositor wants it."""
    rgb = linear_premultiplied(frame.rgb, frame.alpha)
    return np.concatenate([rgb, frame.alpha[..., None]], axis=2).astype(np.float32)


def rgba_over(frame: Frame, background: Sequence[float]) -> F32:
    """[H, W, 4] opaque scene-linear RGBA over a scene-linear colour [3], blended as trained: in sRGB space.

    ``C + (1 - A) srgb(background)``, decoded, where C is clipped to what a display shows of it: 0..A. The background is not clipped.
    """
    alpha = frame.alpha[..., None]
    behind = srgb_from_linear(np.asarray(background, np.float32))
    result = np.ones((*frame.alpha.shape, 4), np.float32)
    result[..., :3] = linear_from_srgb(np.clip(frame.rgb, 0.0, alpha) + (1.0 - alpha) * behind)
    return result


def depth_plane(frame: Frame) -> F32:
    """[H, W] depth for a compositor's test: NOTHING_HIT_DEPTH where next to nothing is hit, as Cycles writes for the sky."""
    return np.where(frame.alpha > NOTHING_HIT_ALPHA, frame.depth, NOTHING_HIT_DEPTH).astype(np.float32)


def rgb_over(frame: Frame, background: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> F32:
    """[H, W, 3] display-referred colour 0..1 over a display-referred background: what a 3DGS viewer shows."""
    over = frame.rgb + (1.0 - frame.alpha)[..., None] * np.asarray(background, np.float32)
    return np.clip(over, 0.0, 1.0).astype(np.float32)


def rgba8_straight(frame: Frame) -> NDArray[np.uint8]:
    """[H, W, 4] 8-bit display-referred colour with straight alpha, as PNG wants it."""
    alpha = np.clip(frame.alpha, 0.0, 1.0)[..., None]
    straight = np.clip(frame.rgb / np.maximum(alpha, 1e-6), 0.0, 1.0)
    return np.rint(np.concatenate([straight, alpha], axis=2) * 255).astype(np.uint8)


def rgb8(rgb: F32) -> NDArray[np.uint8]:
    """[H, W, 3] 0..1 -> 8 bit."""
    return np.rint(np.clip(rgb, 0.0, 1.0) * 255).astype(np.uint8)
