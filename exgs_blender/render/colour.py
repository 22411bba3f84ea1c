# SPDX-License-Identifier: GPL-3.0-or-later
"""From the display-referred colours that Gaussians blend in to scene-linear light (IEC 61966-2-1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..splats.gaussians import F32
from ..splats.srgb import linear_from_srgb, srgb_from_linear
from .frame import Frame

__all__ = ["linear_from_srgb", "linear_opaque", "linear_premultiplied", "srgb_from_linear"]

ALPHA_FLOOR = 1e-6
"""Below this coverage a pixel's own colour is not defined; it is taken as C / this, which ends at most in white times alpha."""


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
