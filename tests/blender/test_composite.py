# SPDX-License-Identifier: GPL-3.0-or-later
"""From a capture to finished frames, inside Blender."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from .harness import RunInBlender
from .images import read_png, srgb_from_linear

pytestmark = pytest.mark.blender


def test_five_frames_over_cycles(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    found = blender("composite", environment=worker_environment, compress=True)
    _check_compression(found["compress"])
    frames = [read_png(path)[..., :3] for path in found["frames"]]
    for before, after in itertools.pairwise(frames):
        assert np.abs(before - after).mean() > 1, "two frames are the same"
    for frame, pixels in zip(frames, found["pixels"], strict=True):
        _check_depth_order(frame, pixels)
    _check_colours(frames[2], np.load(found["worker"]))
    assert np.abs(read_png(found["other camera"])[..., :3] - frames[2]).mean() > 5, "the camera marker was not followed"
    _check_nodes(found)


def _check_compression(compress: dict[str, Any]) -> None:
    assert compress["state"] == "done", compress["message"]
    assert "smaller" in compress["message"]
    assert len(compress["stages"]) > 2, "no progress was reported"
    assert compress["original hidden"]
    assert compress["same place"]
    assert 0 < compress["points"][1] < compress["points"][0]
    assert 0 < compress["keep ratio"] < 1


def _check_depth_order(frame: np.ndarray, pixels: dict[str, list[float]]) -> None:
    at = {name: frame[round(y - 0.5), round(x - 0.5)] for name, (x, y) in pixels.items()}
    np.testing.assert_array_equal(at["front"], [0, 255, 0], "a CG object in front of the splats must hide them")
    assert at["ball"][0] > 120, "the ball is not where Blender's projection puts it"
    assert at["ball"][2] < 120, "a CG object behind the splats shines through"
    blue = (frame[..., 2] == 255) & (frame[..., :2] == 0).all(axis=-1)
    assert blue.sum() > 30, "the CG object behind the splats is nowhere to be seen beside them"


def _check_colours(frame: np.ndarray, worker: Any) -> None:
    """Where the splats are opaque and in front, the picture is the worker's, to one step of 255."""
    shown = srgb_from_linear(worker["combined"][..., :3]) * 255
    cubes = (frame.max(axis=-1) == 255) & (np.sort(frame, axis=-1)[..., :2] == 0).all(axis=-1)
    solid = (worker["mask"] < 0.002) & ~cubes
    assert solid.sum() > 1000
    # A pixel at a cube's edge may mix; no more than those may differ.
    off = np.abs(frame - shown).max(axis=-1) > 1
    assert (off & solid).sum() <= 0.02 * solid.sum()


def _check_nodes(found: dict[str, Any]) -> None:
    assert found["once"] == found["twice"], "running it again duplicates"
    assert found["nodes kept"], "the artist's nodes were touched"
    assert found["nodes after"], "removing did not restore the artist's nodes"
    assert found["removed"]["scenes"] == found["once"]["scenes"] - 1
    assert found["visible again"]
    plain = read_png(found["without"])[..., :3]
    assert not ((plain[..., 0] > 120) & (plain[..., 2] < 60)).any(), "splats after removal"
