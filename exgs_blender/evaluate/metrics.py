# SPDX-License-Identifier: GPL-3.0-or-later
"""How different two images are. Images are float arrays [H, W, 3] in 0..1; numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError
from ..splats.gaussians import F32
from .filters import correlate, gaussian_taps

MAX_PSNR = 100.0
"""What identical images get, so that means stay finite."""
SSIM_RADIUS = 5
SSIM_SIGMA = 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


def judged(rgb: F32) -> F32:
    """A premultiplied render as it is judged: over black, clipped to 0..1."""
    return np.clip(rgb, 0.0, 1.0).astype(np.float32)


def mse(image: F32, reference: F32, mask: NDArray[np.bool_] | None = None) -> float:
    """Mean squared error over all channels; ``mask`` [H, W] picks the pixels.

    Raises:
        ExgsError: the images differ in shape, or the mask is empty.
    """
    if image.shape != reference.shape:
        raise ExgsError(f"images of different shapes cannot be compared: {list(image.shape)} and {list(reference.shape)}")
    squared = np.square(image.astype(np.float64) - reference)
    if mask is None:
        return float(squared.mean())
    if not mask.any():
        raise ExgsError("the mask holds no pixel")
    return float(squared[mask].mean())


def psnr(image: F32, reference: F32, mask: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1, at most 100; over the pixels of ``mask`` [H, W] where given."""
    return psnr_from_mse(mse(image, reference, mask))


def psnr_from_mse(error: float) -> float:
    """-10 log10, capped at 100 dB."""
    return min(-10.0 * float(np.log10(max(error, 1e-30))), MAX_PSNR)


def ssim(image: F32, reference: F32) -> float:
    """Mean structural similarity (Wang et al. 2004): Gaussian window of 11 x 11, sigma 1.5, K = (0.01, 0.03), channels averaged.

    The mean is over the pixels whose window lies inside the image, as in the authors' code.

    Raises:
        ExgsError: the images differ in shape or are smaller than the window.
    """
    if image.shape != reference.shape:
        raise ExgsError(f"images of different shapes cannot be compared: {list(image.shape)} and {list(reference.shape)}")
    if min(image.shape[:2]) <= 2 * SSIM_RADIUS:
        raise ExgsError(f"SSIM needs images of at least {2 * SSIM_RADIUS + 1} pixels a side, got {list(image.shape[:2])}")
    luminance, structure = ssim_parts(image.astype(np.float64), reference.astype(np.float64))
    return float((luminance * structure).mean())


def ssim_parts(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two factors of SSIM where the window fits: likeness of means, and of contrast and structure."""
    mean_x, mean_y = _window(x), _window(y)
    variances = _window(x * x + y * y) - mean_x**2 - mean_y**2
    cov = _window(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    return luminance, (2 * cov + SSIM_C2) / (variances + SSIM_C2)


def _window(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Separable Gaussian mean over the places where the window fits."""
    taps = gaussian_taps(SSIM_RADIUS, SSIM_SIGMA)
    taps /= taps.sum()
    return correlate(correlate(image, taps, 0), taps, 1)
