# SPDX-License-Identifier: GPL-3.0-or-later
"""The render engine on its own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from .harness import RunInBlender
from .images import centroid, read_layers, read_rgba, srgb_from_linear

pytestmark = pytest.mark.blender
WEIGHTS = Path(__file__).resolve().parents[2] / "exgs_blender" / "painter" / "weights"


def test_passes_field_of_view_border_film_instances(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    found = blender("passes", environment=worker_environment)
    for view in found["fov"]:
        layers = read_layers(view["file"])
        assert set(layers) == {"Combined", "Depth", "Mask", "Unrestored"}
        assert np.abs(centroid(layers["Combined"][..., 3]) - view["pixel"]).max() < 0.5, view
    _check_depth(read_layers(found["depth"]["splats"]), read_layers(found["depth"]["mesh"]))
    _check_border(read_layers(found["border"]["whole"]), read_layers(found["border"]["part"]))
    _check_film(read_layers(found["border"]["whole"]), read_layers(found["film"]["file"]))
    _check_instances(read_layers(found["instances"]["file"]), found["instances"]["pixels"])
    empty = read_layers(found["empty"])
    assert not empty["Combined"].any()
    assert (empty["Depth"] == np.float32(1e10)).all()


@pytest.mark.skipif(not any(WEIGHTS.rglob("*.safetensors")), reason="this checkout has no GaussPainter checkpoint")
def test_restoration_changes_combined_and_nothing_else(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    found = blender("restored", environment=worker_environment)
    on, off = read_layers(found["on"]), read_layers(found["off"])
    assert on["Combined"].shape == (67, 101, 4)
    # Whether it reached the pass, not how strong the checkpoint is: without it both are equal to the bit (next line).
    assert np.abs(on["Combined"] - on["Unrestored"]).max() > 1e-3, "restoration did nothing"
    np.testing.assert_array_equal(off["Combined"], off["Unrestored"])
    told = read_layers(found["refitted"])
    np.testing.assert_array_equal(told["Combined"], told["Unrestored"])
    for name in ("Unrestored", "Mask"):
        np.testing.assert_allclose(on[name], off[name], atol=1e-5)
    _check_rates(found["rates"], found["status"])


def _check_rates(rates: dict[str, str], status: list[str]) -> None:
    """The render tells how long a frame takes and what restoration costs of it."""
    words = r"([\d.]+) s a frame \(([\d.]+) frames/s\)(?:, restoring ([\d.]+) s of it)?"
    told = {name: re.fullmatch(words, text) for name, text in rates.items()}
    assert all(told.values()), rates
    seconds, per_second, restoring = (float(part) for part in told["on"].groups())  # type: ignore[union-attr]
    assert 0 < restoring < seconds
    assert per_second == pytest.approx(1 / seconds, rel=0.1)
    assert told["off"][3] is None, "a render without restoration tells what it costs"  # type: ignore[index]
    assert any(line.endswith(f"ExGS: {rates['on']}") for line in status), "the status line does not tell it"


@pytest.mark.skipif(not any(WEIGHTS.rglob("*.safetensors")), reason="this checkout has no GaussPainter checkpoint")
def test_stabilised_frames_depend_on_the_file_and_the_frame_number_alone(blender: RunInBlender, worker_environment: dict[str, str]) -> None:
    """Whole, in chunks and backwards, through a camera that a parent, a driver and a constraint move."""
    found = blender("stabilised", environment=worker_environment)
    assert found["stabilise"], "it is on by default"
    assert found["failures"] == []
    whole = [read_layers(file)["Combined"] for file in found["whole"]]
    for file, expected in zip(found["chunks"], whole, strict=True):
        np.testing.assert_array_equal(read_layers(file)["Combined"], expected)
    for frame, file in found["backwards"].items():
        np.testing.assert_array_equal(read_layers(file)["Combined"], whole[int(frame) - 1])
    for file, stable in zip(found["per_frame"], whole, strict=True):
        assert (read_layers(file)["Combined"] != stable).mean() > 0.1, "stabilising did nothing"
    for alone in ("moving", "markers"):
        on, off = (read_layers(file)["Combined"] for file in found[alone])
        np.testing.assert_array_equal(on, off, err_msg=f"{alone}: frames that show something else were averaged in")
    shot, alone, per_frame = (read_rgba(file) for file in found["composited"])
    np.testing.assert_array_equal(shot, alone)
    assert (shot != per_frame).mean() > 0.01, "stabilising did not reach the compositor"


def _check_depth(splats: dict[str, np.ndarray], mesh: dict[str, np.ndarray]) -> None:
    """Ours is the Z pass of Cycles: the plane has one depth all over, though the way along the ray is half as long again at the corners."""
    solid = (splats["Mask"] < 0.02) & (mesh["Depth"] < 1e9)
    assert solid.mean() > 0.9
    relative = np.abs(splats["Depth"] / mesh["Depth"] - 1)[solid]
    assert relative.max() < 1e-4
    assert (splats["Depth"][splats["Mask"] == 1] == np.float32(1e10)).all()
    assert (mesh["Depth"][mesh["Depth"] > 1e9] == np.float32(1e10)).all(), "Cycles writes another depth for the sky"


def _check_border(whole: dict[str, np.ndarray], part: dict[str, np.ndarray]) -> None:
    """The region is where it belongs and equals the same pixels of the whole picture; outside is empty."""
    inside = part["Combined"].any(axis=-1)
    assert 100 < inside.sum() < (whole["Combined"][..., 3] > 0).sum()
    assert np.abs(part["Combined"] - whole["Combined"])[inside].max() < 2e-3


def _check_film(clear: dict[str, np.ndarray], opaque: dict[str, np.ndarray]) -> None:
    assert (opaque["Combined"][..., 3] == 1).all()
    background = np.array([0.05, 0.15, 0.45])
    alpha = clear["Combined"][..., 3:]
    nothing = alpha[..., 0] == 0
    np.testing.assert_allclose(opaque["Combined"][nothing][:, :3], np.tile(background, (nothing.sum(), 1)), atol=1e-5)
    straight = srgb_from_linear(clear["Combined"][..., :3] / np.maximum(alpha, 1e-10))
    expected = alpha * straight + (1 - alpha) * srgb_from_linear(background)
    assert np.abs(srgb_from_linear(opaque["Combined"][..., :3]) - expected).max() < 2e-3


def _check_instances(layers: dict[str, np.ndarray], pixels: list[list[float]]) -> None:
    alpha = layers["Combined"][..., 3]
    middle = alpha.shape[1] // 2
    left, right = alpha.copy(), alpha.copy()
    left[:, middle:], right[:, :middle] = 0, 0
    assert np.abs(centroid(left) - pixels[0]).max() < 0.5
    assert np.abs(centroid(right) - pixels[1]).max() < 0.5
    assert right.sum() > 1.5 * left.sum(), "the instance of twice the size is not larger"
