# SPDX-License-Identifier: GPL-3.0-or-later
"""Display-referred to scene-linear."""

from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.render.colour import linear_from_srgb, linear_opaque, linear_premultiplied, srgb_from_linear
from exgs_blender.render.frame import Backend, Frame


def test_known_values() -> None:
    assert linear_from_srgb(np.array([0.0, 0.04045, 0.5, 1.0])) == pytest.approx([0, 0.0031308, 0.2140411, 1], abs=1e-6)


def test_round_trip_also_outside_of_the_unit_interval() -> None:
    values = np.linspace(-0.5, 4, 1001)
    assert np.abs(srgb_from_linear(linear_from_srgb(values)) - values).max() < 1e-5


def test_transparent_layer_keeps_its_own_colour() -> None:
    """Half-covered white stays white at half alpha; decoding the premultiplied colour would make it 0.21."""
    alpha = np.array([[0.5, 1.0, 0.0, 1e-9]], np.float32)
    rgb = np.repeat(alpha[..., None], 3, axis=2)
    assert linear_premultiplied(rgb, alpha)[0, :, 0] == pytest.approx([0.5, 1.0, 0.0, 0.0], abs=1e-6)


def test_opaque_blends_before_it_decodes() -> None:
    frame = Frame(np.full((1, 1, 3), 0.2, np.float32), np.full((1, 1), 0.5, np.float32), np.ones((1, 1), np.float32), Backend("cpu", ""))
    assert linear_opaque(frame, (1.0, 0.6, 0.0))[0, 0] == pytest.approx(linear_from_srgb(np.array([0.7, 0.5, 0.2])), abs=1e-6)
    bright = Frame(np.full((1, 1, 3), 3.0, np.float32), frame.alpha, frame.depth, frame.backend)
    assert linear_opaque(bright).max() == 1.0
