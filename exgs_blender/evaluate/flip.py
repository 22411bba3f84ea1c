# SPDX-License-Identifier: GPL-3.0-or-later
"""FLIP: how different two images look to somebody who flips between them; numpy only.

P. Andersson, J. Nilsson, T. Akenine-Moeller, M. Oskarsson, K. Astroem, M. D. Fairchild: "FLIP: A Difference Evaluator for
Alternating Images", HPG 2020. The colour pipeline filters with the eye's contrast sensitivity and measures in a
Hunt-adjusted L*a*b*; the feature pipeline compares edges and points. Section numbers below are the paper's.
"""

from __future__ import annotations

import numpy as np

from ..errors import ExgsError
from ..splats.gaussians import F32
from ..splats.srgb import linear_from_srgb
from .filters import correlate_edges, gaussian_taps

PIXELS_PER_DEGREE = 67.0
"""The paper's viewer: a 0.7 m wide 3840-pixel monitor seen from 0.7 m."""

XYZ_FROM_LINEAR = np.array(
    [[0.4123907993, 0.3575843394, 0.1804807884], [0.2126390059, 0.7151686788, 0.0721923154], [0.0193308187, 0.1191947798, 0.9505321522]]
)
"""IEC 61966-2-1 primaries with a D65 white."""
WHITE = XYZ_FROM_LINEAR.sum(axis=1)
LINEAR_FROM_XYZ = np.linalg.inv(XYZ_FROM_LINEAR)

CSF_LUMINANCE = ((1.0, 0.0047),)
CSF_RED_GREEN = ((1.0, 0.0053),)
CSF_BLUE_YELLOW = ((34.1, 0.04), (13.5, 0.025))
"""Per channel, (a, b) of the terms a sqrt(pi / b) exp(-pi^2 x^2 / b), x in degrees: Table 1."""
CSF_RADIUS_DEGREES = 3 * float(np.sqrt(0.04 / (2 * np.pi**2)))
"""Three standard deviations of the widest term."""

COLOUR_EXPONENT = 0.7
KNEE_FROM, KNEE_TO = 0.4, 0.95
"""Colour differences up to 0.4 of the largest one fill the range up to 0.95: section 4.1.4."""
FEATURE_DEGREES = 0.082
"""Width of the feature detectors: section 4.2."""
FEATURE_EXPONENT = 0.5


def flip(image: F32, reference: F32, pixels_per_degree: float = PIXELS_PER_DEGREE) -> F32:
    """The per-pixel LDR-FLIP map [H, W] in 0 (no difference) .. 1; the image's FLIP value is its mean.

    Args:
        image, reference: [H, W, 3] sRGB-encoded in 0..1; swapping them changes nothing.
        pixels_per_degree: of the viewer's field of view.

    Raises:
        ExgsError: the images differ in shape or are no colour images.
    """
    if image.shape != reference.shape or image.ndim != 3 or image.shape[2] != 3:
        raise ExgsError(f"FLIP needs two colour images of one shape, got {list(image.shape)} and {list(reference.shape)}")
    a, b = (_opponent(np.clip(x, 0.0, 1.0)) for x in (image, reference))
    colour = _colour_difference(_seen(a, pixels_per_degree), _seen(b, pixels_per_degree))
    features = _feature_difference(a[0], b[0], pixels_per_degree)
    return np.clip(colour ** (1.0 - features), 0.0, 1.0).astype(np.float32)


def _opponent(image: F32) -> F32:
    """sRGB [H, W, 3] -> YyCxCz [3, H, W], CIELAB without its cube roots (section 4.1.1)."""
    linear = np.ascontiguousarray(np.moveaxis(linear_from_srgb(image), 2, 0))
    x, y, z = _channels(XYZ_FROM_LINEAR / WHITE[:, None], linear)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _seen(opponent: F32, pixels_per_degree: float) -> F32:
    """YyCxCz [3, H, W] -> what the eye resolves of it, Hunt-adjusted L*a*b* [3, H, W] (sections 4.1.2 and 4.1.3)."""
    filters = (CSF_LUMINANCE, CSF_RED_GREEN, CSF_BLUE_YELLOW)
    y, cx, cz = (_csf(channel, terms, pixels_per_degree) for channel, terms in zip(opponent, filters, strict=True))
    y = (y + 16) / 116
    xyz = np.stack([y + cx / 500, y, y - cz / 200])
    linear = np.clip(_channels(LINEAR_FROM_XYZ * WHITE, xyz), 0.0, 1.0)
    return _hunt_lab(_channels(XYZ_FROM_LINEAR / WHITE[:, None], linear))


def _csf(channel: F32, terms: tuple[tuple[float, float], ...], pixels_per_degree: float) -> F32:
    """[H, W] filtered by a sum of Gaussians whose kernel sums to one."""
    radius = int(np.ceil(CSF_RADIUS_DEGREES * pixels_per_degree))
    kernels = [gaussian_taps(radius, np.sqrt(b / 2) / np.pi * pixels_per_degree) for _, b in terms]
    weights = [a * np.sqrt(np.pi / b) for a, b in terms]
    total = sum(weight * taps.sum() ** 2 for weight, taps in zip(weights, kernels, strict=True))
    filtered = np.zeros_like(channel)
    for weight, taps in zip(weights, kernels, strict=True):
        filtered += correlate_edges(correlate_edges(channel, taps * weight / total, 0), taps, 1)
    return filtered


def _hunt_lab(xyz: F32) -> F32:
    """White-relative XYZ [3, ...] -> L*a*b* [3, ...] whose chroma falls with darkness, a* and b* times 0.01 L*."""
    delta = 6 / 29
    fx, fy, fz = np.where(xyz > delta**3, np.cbrt(xyz), xyz / np.float32(3 * delta**2) + np.float32(4 / 29))
    lightness = 116 * fy - 16
    return np.stack([lightness, 5 * lightness * (fx - fy), 2 * lightness * (fy - fz)])


def _hyab(a: F32, b: F32) -> F32:
    """City-block in lightness, Euclidean in chroma, [3, ...] -> [...]; to the power 0.7."""
    difference = a - b
    return (np.abs(difference[0]) + np.hypot(difference[1], difference[2])) ** np.float32(COLOUR_EXPONENT)


def _colour_difference(a: F32, b: F32) -> F32:
    """[H, W] in 0..1: HyAB against the largest in the gamut, green to blue, with a knee (section 4.1.4)."""
    green, blue = (_hunt_lab((XYZ_FROM_LINEAR[:, i] / WHITE).astype(np.float32)) for i in (1, 2))
    largest = float(_hyab(green, blue))
    knee = KNEE_FROM * largest
    difference = _hyab(a, b)
    above = KNEE_TO + (difference - knee) / (largest - knee) * (1 - KNEE_TO)
    return np.where(difference < knee, difference * (KNEE_TO / knee), above)


def _feature_difference(a: F32, b: F32, pixels_per_degree: float) -> F32:
    """[H, W] in 0..1: the larger change of edge or point strength (section 4.2). ``a``, ``b``: Yy [H, W]."""
    edges_a, points_a = _features((a + 16) / 116, pixels_per_degree)
    edges_b, points_b = _features((b + 16) / 116, pixels_per_degree)
    strongest = np.maximum(np.abs(edges_a - edges_b), np.abs(points_a - points_b))
    return np.clip(strongest / np.float32(np.sqrt(2)), 0.0, 1.0) ** np.float32(FEATURE_EXPONENT)


def _features(luminance: F32, pixels_per_degree: float) -> tuple[F32, F32]:
    """Strength of edges and of points [H, W]: first and second derivatives of a Gaussian along both axes."""
    sigma = 0.5 * FEATURE_DEGREES * pixels_per_degree
    radius = int(np.ceil(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    smooth = gaussian_taps(radius, sigma)
    slope, curve = _balanced(-offsets * smooth), _balanced(((offsets / sigma) ** 2 - 1) * smooth)
    smooth /= smooth.sum()
    across, along = correlate_edges(luminance, smooth, 0), correlate_edges(luminance, smooth, 1)
    edges = np.hypot(correlate_edges(across, slope, 1), correlate_edges(along, slope, 0))
    points = np.hypot(correlate_edges(across, curve, 1), correlate_edges(along, curve, 0))
    return edges, points


def _balanced(taps: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Positive taps sum to 1, negative ones to -1."""
    return np.where(taps > 0, taps / taps[taps > 0].sum(), taps / -taps[taps < 0].sum())


def _channels(matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]], image: F32) -> F32:
    """A 3 x 3 matrix times [3, H, W]."""
    return np.tensordot(matrix.astype(np.float32), image, 1)
