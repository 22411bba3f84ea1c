# SPDX-License-Identifier: GPL-3.0-or-later
"""Two measures of likeness that look at several scales: MS-SSIM and HaarPSI. Images are float arrays [H, W, 3] in 0..1; numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError
from ..splats.gaussians import F32
from .filters import correlate
from .metrics import SSIM_RADIUS, ssim_parts

F64 = NDArray[np.float64]

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, the finest first (Wang, Simoncelli, Bovik 2003)."""
HAAR_C, HAAR_ALPHA = 30.0, 4.2
"""Constants of HaarPSI (Reisenhofer et al. 2018), for values of 0 to 255."""
HAAR_SCALES = 3
RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def ms_ssim(image: F32, reference: F32) -> float:
    """Multi-scale SSIM: contrast and structure at five scales, luminance at the coarsest; negative means count as 0.

    Raises:
        ExgsError: the images differ in shape or have a side under 176 pixels.
    """
    _check(image, reference, (2 * SSIM_RADIUS + 1) * 2 ** (len(MS_SSIM_WEIGHTS) - 1))
    x, y = image.astype(np.float64), reference.astype(np.float64)
    product = 1.0
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        luminance, structure = ssim_parts(x, y)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        likeness = float((luminance * structure).mean() if last else structure.mean())
        product *= max(likeness, 0.0) ** weight
        x, y = _halved(x), _halved(y)
    return product


def haarpsi(image: F32, reference: F32) -> float:
    """Haar wavelet-based perceptual similarity index, 0 to 1, of the two finest scales weighed by the third, with colour.

    The places where all filters fit are looked at; the authors' code continues images by zeros.

    Raises:
        ExgsError: the images differ in shape or have a side under 32 pixels.
    """
    _check(image, reference, 32)
    one, other = (_halved(255.0 * pixels.astype(np.float64) @ RGB_TO_YIQ.T) for pixels in (image, reference))
    coefficients = [
        [_haar(pixels[..., 0], scale, axis) for scale in range(1, HAAR_SCALES + 1)] for pixels in (one, other) for axis in (0, 1)
    ]
    likenesses, weights = [], []
    for axis in (0, 1):
        mine, theirs = coefficients[axis], coefficients[2 + axis]
        likenesses.append(0.5 * (_likeness(mine[0], theirs[0]) + _likeness(mine[1], theirs[1])))
        weights.append(np.maximum(mine[2], theirs[2]))
    colours = [[np.abs(_fitting(_means(pixels[..., channel]), 2)) for channel in (1, 2)] for pixels in (one, other)]
    likenesses.append(0.5 * (_likeness(colours[0][0], colours[1][0]) + _likeness(colours[0][1], colours[1][1])))
    weights.append(0.5 * (weights[0] + weights[1]))
    total = sum(float(weight.sum()) for weight in weights)
    if total == 0:
        return 1.0
    mean = (
        sum(float((weight / (1 + np.exp(-HAAR_ALPHA * likeness))).sum()) for likeness, weight in zip(likenesses, weights, strict=True))
        / total
    )
    return float((np.log(mean / (1 - mean)) / HAAR_ALPHA) ** 2)


def _check(image: F32, reference: F32, side: int) -> None:
    if image.shape != reference.shape:
        raise ExgsError(f"images of different shapes cannot be compared: {list(image.shape)} and {list(reference.shape)}")
    if min(image.shape[:2]) < side:
        raise ExgsError(f"this measure needs images of at least {side} pixels a side, got {list(image.shape[:2])}")


def _halved(image: F64) -> F64:
    """[H, W, ...] -> half as large, means of 2 x 2; an odd last row or column is left out."""
    even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    return np.asarray(0.25 * (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]))


def _haar(plane: F64, scale: int, axis: int) -> F64:
    """Magnitudes of the Haar filter of 2^scale pixels across ``axis``, where the widest one fits."""
    size = 2**scale
    step = np.repeat([-1.0, 1.0], size // 2)
    found = correlate(correlate(plane, step, axis), np.ones(size), 1 - axis) / size
    return np.abs(_fitting(found, size))


def _means(plane: F64) -> F64:
    return np.asarray(correlate(correlate(plane, np.ones(2), 0), np.ones(2), 1) / 4)


def _fitting(found: F64, size: int) -> F64:
    """What a filter of ``size`` pixels found, at the places of the widest filter, their middles aligned."""
    spare = 2**HAAR_SCALES - size
    first = spare // 2
    return found[first : found.shape[0] - spare + first, first : found.shape[1] - spare + first]


def _likeness(mine: F64, theirs: F64) -> F64:
    return np.asarray((2 * mine * theirs + HAAR_C) / (mine**2 + theirs**2 + HAAR_C))
