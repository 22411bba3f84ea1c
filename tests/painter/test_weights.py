# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkpoint in the package, and how one gets there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from exgs_blender.evaluate.held_out import held_out_views, training_views
from exgs_blender.evaluate.metrics import judged, psnr
from exgs_blender.formats import registry
from exgs_blender.painter import Painter, default_weights
from exgs_blender.painter.degrade import Compressor
from exgs_blender.progress import silent
from exgs_blender.render.rasterize import rasterize_all

from .conftest import random_frame

MAX_BYTES = 15_000_000


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter.load(device="cpu")


def test_package_holds_a_small_checkpoint_of_safetensors_only() -> None:
    files = [path for path in default_weights().rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".md", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="np") as file:
                assert all(np.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118 - not a dict


def test_model_card_names_scenes_and_seed() -> None:
    card = (default_weights() / "README.md").read_text(encoding="utf-8")
    for expected in ("Trained on", "Held out", "seed", "biker", "snowmiku"):
        assert expected in card


def test_full_keep_returns_the_frame(painter: Painter) -> None:
    frame = random_frame(71, 93)
    made = painter.restore(frame, 1.0)
    assert np.array_equal(made.rgb, frame.rgb)
    assert np.array_equal(made.alpha, frame.alpha)


def test_odd_frames_are_not_shifted(painter: Painter) -> None:
    """The picture that fits a 67 x 119 frame best after restoration is the one without any shift."""
    frame = random_frame(67, 119)
    made = painter.restore(frame, 0.1)
    assert made.rgb.shape == (67, 119, 3)
    inner = frame.rgb[8:-8, 8:-8]
    errors = {(y, x): np.square(made.rgb[8 + y : 59 + y, 8 + x : 111 + x] - inner).mean() for y in range(-3, 4) for x in range(-3, 4)}
    assert min(errors, key=lambda shift: errors[shift]) == (0, 0)


@pytest.mark.parametrize("keep", [0.1, 0.01])
def test_a_scene_that_it_has_never_seen(painter: Painter, data_dir: Path, keep: float) -> None:
    """Never worse by more than 0.05 dB, and left alone where the validation scenes trust nothing."""
    path = data_dir / "scenes" / "biker.spz"
    if not path.is_file():
        pytest.skip(f"no test data: {path} is missing")
    scene = registry.read(path)
    views = held_out_views(scene, count=4).resized(240)
    pruned = Compressor("merge")(scene, training_views(scene, count=8), keep, silent)
    truth, before = list(rasterize_all(scene, views)), list(rasterize_all(pruned, views))
    after = [painter.restore(frame, keep) for frame in before]
    gains = [psnr(judged(a.rgb), judged(t.rgb)) - psnr(judged(b.rgb), judged(t.rgb)) for a, b, t in zip(after, before, truth, strict=True)]
    assert min(gains) > -0.05
    trusted = dict(painter.pipeline.config.trust)[keep] > 0
    assert (max(abs(gain) for gain in gains) > 1e-5) == trusted
    assert trusted or keep < 0.02, "it is switched off where it should help"
