# SPDX-License-Identifier: GPL-3.0-or-later
"""MS-SSIM and HaarPSI: identity, order, and agreement with what their definitions give."""

from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.errors import ExgsError
from exgs_blender.evaluate.filters import correlate_edges, gaussian_taps
from exgs_blender.evaluate.metrics import ssim
from exgs_blender.evaluate.perceptual import haarpsi, ms_ssim
from exgs_blender.splats.gaussians import F32


def picture(seed: int = 0, side: int = 200) -> F32:
    """Waves, steps and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    planes = [0.5 + 0.3 * np.sin(20 * x * (i + 1)) * np.cos(13 * y) + 0.2 * ((x + y * i) % 0.2 > 0.1) - 0.1 for i in range(3)]
    return np.clip(np.stack(planes, 2) + rng.normal(0, 0.03, (side, side, 3)), 0, 1).astype(np.float32)


def blurred(image: F32, sigma: float) -> F32:
    taps = gaussian_taps(round(3 * sigma), sigma)
    return np.asarray(correlate_edges(correlate_edges(image, taps / taps.sum(), 0), taps / taps.sum(), 1))


@pytest.mark.parametrize("measure", [ms_ssim, haarpsi])
def test_identical_images_get_one_and_blur_falls_with_its_width(measure) -> None:  # type: ignore[no-untyped-def]
    truth = picture()
    assert measure(truth, truth) == pytest.approx(1.0, abs=1e-9)
    found = [measure(blurred(truth, sigma), truth) for sigma in (0.8, 1.6, 3.2)]
    assert 1 > found[0] > found[1] > found[2] > 0
    assert measure(truth, blurred(truth, 1.6)) == pytest.approx(found[1])


def test_ms_ssim_forgives_fine_noise_more_than_ssim_does() -> None:
    truth = picture()
    noisy = np.clip(truth + np.random.default_rng(1).normal(0, 0.1, truth.shape), 0, 1).astype(np.float32)
    assert ms_ssim(noisy, truth) > ssim(noisy, truth) + 0.05


def test_haarpsi_of_a_change_of_colour_alone_follows_from_its_definition() -> None:
    """I shifted by 40, Y and Q equal: the two luminance maps are 1, the colour map is (likeness(i, i + 40) + 1) / 2 everywhere."""
    grey = np.repeat(picture()[..., :1] * 0.5 + 0.2, 3, axis=2)
    shift = np.linalg.inv([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]) @ [0, 40 / 255, 0]
    found = haarpsi((grey + shift).astype(np.float32), grey)
    colour = 0.5 * (1 + 30 / (40**2 + 30))
    mean = (2 / (1 + np.exp(-4.2)) + 1 / (1 + np.exp(-4.2 * colour))) / 3  # the third map weighs as much as the mean of the others
    assert found == pytest.approx((np.log(mean / (1 - mean)) / 4.2) ** 2, abs=2e-3)


def test_small_or_unlike_images_are_refused() -> None:
    with pytest.raises(ExgsError, match="at least 176"):
        ms_ssim(picture(side=100), picture(side=100))
    with pytest.raises(ExgsError, match="different shapes"):
        haarpsi(picture(side=100), picture(side=90))
