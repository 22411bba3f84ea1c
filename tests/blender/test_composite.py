# SPDX-License-Identifier: GPL-3.0-or-later
"""From a capture to finished frames, inside Blender."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from .harness import RunInBlender
from .images import read_png, read_rgba, srgb_from_linear

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
    red = ((plain[..., 0] > 120) & (plain[..., 2] < 60)).any()
    assert red == found["native"], "splats after removal: only from 5.3 on Cycles draws them itself"


def test_blending_view_transform_and_shadows(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    """Complaints of others: colours (KIRI #66, #54; playcanvas/engine #8387), depth against meshes (KIRI #39; gsplat #749)."""
    found = blender("composite_choices", environment=worker_environment)
    view = found["view"]
    assert view["after"] == ["AgX", "AgX"], "the view transform was changed without asking"
    assert "AgX changes" in view["warning"]
    assert view["pressed"] == ["Standard", "Standard"]
    assert view["no warning"] == ""
    _check_blending(found["blending"])
    _check_shadows(found["shadows"])


def _check_blending(blending: dict[str, Any]) -> None:
    """Over a plain sky both ways are known exactly."""
    assert blending["nodes"][0] == blending["nodes"][1] == blending["nodes"][2]
    assert blending["links"][0] == blending["links"][1] == blending["links"][2], "changing the blending changed links"
    assert blending["groups"] == ["ExGS Depth Merge"], "the group that is not used any more is left behind"
    files = {name: read_rgba(path) for name, path in blending["files"].items()}
    layer = files["layer"]
    colour, alpha = layer[..., :3], layer[..., 3:]
    half = (alpha[..., 0] > 0.2) & (alpha[..., 0] < 0.8)
    assert half.sum() > 100, "nothing is half transparent"
    np.testing.assert_allclose(files["LINEAR"][..., :3], colour + (1 - alpha) * 0.2, atol=1e-4)
    trained = alpha * srgb_from_linear(colour / np.maximum(alpha, 1e-6)) + (1 - alpha) * srgb_from_linear(np.float32(0.2))
    np.testing.assert_allclose(srgb_from_linear(files["SRGB"][..., :3]), trained, atol=1e-3)
    assert np.abs(files["SRGB"] - files["LINEAR"])[half].max() > 0.02, "both ways are the same"


def _check_shadows(shadows: dict[str, Any]) -> None:
    assert shadows["near"][0] < 0.04, "the proxy is not where the splats are"  # a cell is 0.07, the splats are 0.05 wide
    assert shadows["near"][1] < 0.1
    assert shadows["up"] > 0.99, "the proxy is inside out"
    assert shadows["again"] == [1, 0, 1], "made again, it doubles: proxies, more meshes, links of the pass"
    assert shadows["coarser"]
    assert shadows["holdout"] == [True, False, 0, False]
    assert shadows["pass"] == [True, False, ""], "removing left Cycles' shadow pass on"
    for light, files in shadows["lighting"].items():
        alone, beside = (_brightness(read_rgba(path)[..., :3], *shadows["pixels"]["panel"]) for path in files)
        assert alone > 0.1
        assert beside == pytest.approx(alone, rel=0.02), f"the proxy throws light of the {light} at the CG, or keeps it away"
    without, shaded = (read_rgba(path)[..., :3] for path in shadows["files"])
    left = {name: _brightness(shaded, *at) / _brightness(without, *at) for name, at in shadows["pixels"].items()}
    assert left["shadow"] < 0.5, "no shadow falls on the splats"
    assert left["lit"] > 0.8, "the sun is gone"


def _brightness(image: np.ndarray, x: float, y: float) -> float:
    """Mean of 3 x 3 pixels."""
    return float(image[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].mean())
