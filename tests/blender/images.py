# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what Blender wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

F32 = NDArray[np.float32]


def read_layers(path: str) -> dict[str, F32]:
    """Passes of a multilayer EXR without the layer's name: "Combined" [H, W, 4], "Depth" [H, W], ..."""
    OpenEXR = pytest.importorskip("OpenEXR")
    channels: dict[str, F32] = {}
    with OpenEXR.File(path, separate_channels=True) as file:
        for part in file.parts:
            for name, channel in part.channels.items():
                channels[name.split(".", 1)[1]] = np.array(channel.pixels, np.float32)
    passes: dict[str, Any] = {}
    for name in {name.rpartition(".")[0] for name in channels}:
        found = {n.rpartition(".")[2]: v for n, v in channels.items() if n.rpartition(".")[0] == name}
        passes[name] = np.stack([found[c] for c in "RGBA"], axis=-1) if len(found) == 4 else next(iter(found.values()))
    return passes


def read_png(path: str | Path) -> F32:
    """[H, W, 3 or 4] values 0..255."""
    Image = pytest.importorskip("PIL.Image")
    with Image.open(path) as image:
        return np.asarray(image, np.float32)


def centroid(weights: F32) -> NDArray[np.float64]:
    """[H, W] -> (x, y) in pixels from the top left corner; pixel centres at i + 0.5."""
    ys, xs = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(weights * (xs + 0.5)).sum(), (weights * (ys + 0.5)).sum()]) / weights.sum()


def srgb_from_linear(linear: F32) -> F32:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055).astype(np.float32)


def read_rgba(path: str) -> F32:
    """[H, W, 4] of a plain EXR file."""
    OpenEXR = pytest.importorskip("OpenEXR")
    with OpenEXR.File(path) as file:
        return np.array(file.channels()["RGBA"].pixels, np.float32)
