# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from exgs_blender.errors import ExgsError
from exgs_blender.evaluate.metrics import MAX_PSNR, judged, psnr, ssim


def _pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, 60)[:, None, None] * np.linspace(0, 1, 48)[None, :, None] * np.ones(3)
    truth = np.clip(ramp + rng.normal(0, 0.05, ramp.shape), 0, 1).astype(np.float32)
    return np.clip(truth + rng.normal(0, 0.1, ramp.shape), 0, 1).astype(np.float32), truth


def test_psnr() -> None:
    black, grey = np.zeros((4, 5, 3), np.float32), np.full((4, 5, 3), 0.1, np.float32)
    assert psnr(grey, black) == pytest.approx(20.0, abs=1e-5)
    assert psnr(grey, grey) == MAX_PSNR


def test_masked_psnr_looks_only_inside() -> None:
    image, truth = _pair()
    mask = np.zeros(truth.shape[:2], bool)
    mask[10:20, 5:30] = True
    assert psnr(image, truth, mask) == pytest.approx(psnr(image[10:20, 5:30], truth[10:20, 5:30]))
    with pytest.raises(ExgsError, match="holds no pixel"):
        psnr(image, truth, np.zeros_like(mask))


def test_ssim_against_scikit_image() -> None:
    image, truth = _pair()
    expected = structural_similarity(
        truth.astype(np.float64),
        image.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=2,
    )
    assert ssim(image, truth) == pytest.approx(expected, abs=2e-4)
    assert ssim(truth, truth) == pytest.approx(1.0)


def test_shapes_are_checked() -> None:
    with pytest.raises(ExgsError, match="different shapes"):
        psnr(np.zeros((4, 5, 3), np.float32), np.zeros((5, 4, 3), np.float32))
    with pytest.raises(ExgsError, match="at least 11 pixels"):
        ssim(np.zeros((4, 50, 3), np.float32), np.zeros((4, 50, 3), np.float32))


def test_judged_images_are_clipped() -> None:
    assert judged(np.array([-1.0, 0.5, 2.0], np.float32)).tolist() == [0.0, 0.5, 1.0]
