# SPDX-License-Identifier: GPL-3.0-or-later
"""From the display-referred colours that Gaussians blend in to scene-linear light (IEC 61966-2-1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..splats.gaussians import F32
from .frame import Frame

ALPHA_FLOOR = 1e-6
"""Below this coverage a pixel's own colour is not defined; it is taken as C / this, which ends at most in white times alpha."""


def linear_from_srgb(encoded: NDArray[np.floating[Any]]) -> F32:
    """sRGB-encoded -> linear; any shape; odd about 0 and without an upper clip."""
    x = np.asarray(encoded, np.float32)
    size = np.abs(x)
    return np.copysign(np.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4), x).astype(np.float32)


def srgb_from_linear(linear: NDArray[np.floating[Any]]) -> F32:
    """Linear -> sRGB-encoded, the inverse of :func:`linear_from_srgb`."""
    x = np.asarray(linear, np.float32)
    size = np.abs(x)
    return np.copysign(np.where(size <= 0.0031308, size * 12.92, 1.055 * size ** (1 / 2.4) - 0.055), x).astype(np.float32)


def linear_premultiplied(rgb: F32, alpha: F32) -> F32:
    """A transparent layer for compositing: decode the pixel's own colour, then premultiply again.

    Decoding the premultiplied colour itself would leave dark edges. The colour is clipped to 0..1 first:
    that is what a display shows of it.

    Args:
        rgb: [H, W, 3] sRGB-encoded, premultiplied.
        alpha: [H, W].

    Returns:
        [H, W, 3] linear, premultiplied by the same alpha.
    """
    own = np.clip(rgb / np.maximum(alpha, ALPHA_FLOOR)[..., None], 0.0, 1.0)
    return (alpha[..., None] * linear_from_srgb(own)).astype(np.float32)


def linear_opaque(frame: Frame, background: Sequence[float] | F32 = (0.0, 0.0, 0.0)) -> F32:
    """[H, W, 3] linear, opaque: the frame over an sRGB-encoded background (a colour or [H, W, 3]), blended as trained."""
    over = frame.rgb + (1.0 - frame.alpha)[..., None] * np.asarray(background, np.float32)
    return linear_from_srgb(np.clip(over, 0.0, 1.0))
