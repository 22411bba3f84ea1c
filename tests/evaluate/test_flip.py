# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.errors import ExgsError
from exgs_blender.evaluate.flip import flip

REFERENCE_MEANS = {
    ("noise", 67.0): 0.190402,
    ("noise", 30.0): 0.324333,
    ("shifted", 67.0): 0.327705,
    ("dots", 67.0): 0.086680,
    ("black and white", 67.0): 0.967392,
    ("green and blue", 67.0): 1.0,
}
"""Mean FLIP by the authors' own program (flip-evaluator 1.7, LDR mode) of the pairs below, at pixels per degree."""
REFERENCE_PIXELS = {(30, 35): 0.38034, (30, 37): 0.12701, (15, 60): 0.83330, (9, 60): 0.45860, (10, 40): 0.53655, (45, 10): 0.0}
"""The same program's map of "dots": on the dot, beside it; inside the bar, above it, its corner; far from both."""


def _waves() -> np.ndarray:
    x, y = np.linspace(0, 1, 80)[None, :], np.linspace(0, 1, 60)[:, None]
    return np.stack([x + 0 * y, 0 * x + y, 0.5 + 0.5 * np.sin(20 * x) * np.cos(15 * y)], axis=2)


def _pair(name: str) -> tuple[np.ndarray, np.ndarray]:
    waves = _waves()
    grey = np.full((60, 80, 3), 0.5)
    if name == "noise":
        changed = np.clip(waves + np.random.default_rng(3).normal(0, 0.1, waves.shape), 0, 1)
    elif name == "shifted":
        changed = np.roll(waves, 3, axis=1)
    elif name == "dots":
        waves, changed = grey, grey.copy()
        changed[30, 35] = 1
        changed[10:20, 40:] = (0.9, 0.1, 0.2)
    elif name == "black and white":
        waves, changed = np.zeros((30, 20, 3)), np.ones((30, 20, 3))
    else:  # green and blue are the gamut's farthest colours
        waves, changed = np.zeros((30, 20, 3)), np.zeros((30, 20, 3))
        waves[..., 1], changed[..., 2] = 1, 1
    return changed.astype(np.float32), waves.astype(np.float32)


@pytest.mark.parametrize(("name", "pixels_per_degree"), list(REFERENCE_MEANS))
def test_the_authors_program_says_the_same(name: str, pixels_per_degree: float) -> None:
    assert float(flip(*_pair(name), pixels_per_degree).mean()) == pytest.approx(REFERENCE_MEANS[name, pixels_per_degree], abs=5e-5)


def test_the_map_agrees_pixel_by_pixel() -> None:
    found = flip(*_pair("dots"))
    for (row, column), expected in REFERENCE_PIXELS.items():
        assert found[row, column] == pytest.approx(expected, abs=3e-4), (row, column)


@pytest.mark.parametrize("name", ["noise", "shifted", "dots", "black and white", "green and blue"])
def test_properties(name: str) -> None:
    image, reference = _pair(name)
    found = flip(image, reference)
    assert found.shape == image.shape[:2]
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.mean() > 0.01
    np.testing.assert_allclose(flip(reference, image), found, atol=1e-5)
    assert flip(image, image).max() == 0


def test_a_larger_difference_is_larger_and_stays_where_it_is() -> None:
    grey = np.full((80, 90, 3), 0.5, np.float32)
    little, much = grey.copy(), grey.copy()
    little[:20, :20] += 0.05
    much[:20, :20] += 0.3
    weak, strong = flip(little, grey), flip(much, grey)
    assert 0 < weak[10, 10] < strong[10, 10]
    assert strong[60:, 60:].max() == 0


def test_seen_from_afar_noise_blurs_away() -> None:
    """A checkerboard of pixels is grey to an eye far enough away."""
    board = np.indices((64, 64)).sum(axis=0) % 2
    image = np.repeat(board[..., None], 3, axis=2).astype(np.float32) * 0.2 + 0.4
    grey = np.full_like(image, 0.5)
    assert flip(image, grey, 120).mean() < flip(image, grey, 20).mean()


def test_shapes_are_checked() -> None:
    with pytest.raises(ExgsError, match="one shape"):
        flip(np.zeros((4, 5, 3), np.float32), np.zeros((5, 4, 3), np.float32))
    with pytest.raises(ExgsError, match="colour images"):
        flip(np.zeros((4, 5), np.float32), np.zeros((4, 5), np.float32))
