# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scene's own restoration is mixed of: maps of a frame, each weighed by a few masks.

The compressor knows the source, so it can say how much of which map brings the compressed renders nearest to the source's
(``scene_fit``); some thirty numbers in the .exgs file carry that to every frame. The maps: the denoiser's change in two bands,
gain, haze and squares of the colours, full coverage in place of partial, coverage's edge, four bands of detail, and what lies
around a hole at three widths. All are zero where nothing is covered near by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

VERSION = 1
"""Of the basis: numbers fitted to another one mean nothing here."""
DETAIL = (0.7, 1.5, 3.0, 8.0)
"""Standard deviations in pixels between which the bands of detail lie."""
CHANGE_SPLIT = 4.0
SURROUNDINGS = (2.0, 8.0, 24.0)
LEAST_ALPHA = 0.05
BUSY = 0.02


@dataclass(frozen=True, eq=False)
class Map:
    """``image`` [B, 4, H, W] (premultiplied RGBA, a change), to be weighed by each of ``masks`` [B, 1, H, W] (None: by 1)."""

    image: Tensor
    masks: tuple[Tensor | None, ...] = (None,)


COUNT = 29
"""Coefficients in all, in the order of :func:`maps` and their masks."""
PLAIN = (1.0, 1.0, 0.0, 0.0, 1.0, 1.0, *(0.0,) * (COUNT - 6))
"""The coefficients whose mix is the denoiser's change as it is."""


def maps(frame: Tensor, nearness: Tensor, change: Tensor) -> Iterator[Map]:
    """The maps of frames.

    Args:
        frame: [B, 4, H, W] premultiplied RGBA, 0..1.
        nearness: [B, 1, H, W], see ``masks.nearness_from_depth``.
        change: [B, 4, H, W], what the denoiser would add.
    """
    alpha = frame[:, 3:]
    hole, nothing = 1 - alpha, torch.zeros_like(alpha)
    slow = blurred(change, CHANGE_SPLIT)
    yield Map(slow, (hole, alpha, hole * nearness, alpha * nearness))
    yield Map(change - slow, (hole, alpha))
    rgb = frame[:, :3]
    yield Map(torch.cat([rgb, nothing], 1), (None, nearness))
    yield Map(torch.cat([alpha.expand_as(rgb), nothing], 1), (None, nearness))
    yield Map(torch.cat([rgb * rgb, nothing], 1))
    yield Map((frame / alpha.clamp_min(LEAST_ALPHA) - frame).clamp(0, 1), (None, nearness))
    yield Map(torch.cat([torch.zeros_like(rgb), alpha * hole], 1))
    yield from _detail(frame, hole)
    for sigma in SURROUNDINGS:
        around = blurred(frame, sigma)
        filled = around / around[:, 3:].clamp_min(LEAST_ALPHA)
        yield Map(filled.clamp(0, 1), (hole,))


def _detail(frame: Tensor, hole: Tensor) -> Iterator[Map]:
    levels = [frame, *(blurred(frame, sigma) for sigma in DETAIL)]
    roughness = blurred((frame - levels[2])[:, :3].abs().mean(1, keepdim=True), 3.0)
    busy = roughness / (roughness + BUSY)
    for fine, coarse in pairwise(levels):
        yield Map(fine - coarse, (None, busy, hole))


def mixed(frame: Tensor, nearness: Tensor, change: Tensor, coefficients: Sequence[float]) -> Tensor:
    """[B, 4, H, W] the sum of the maps, each times its coefficients and masks; arguments as :func:`maps`."""
    total, left = torch.zeros_like(frame), iter(coefficients)
    for part in maps(frame, nearness, change):
        weight: Tensor | float = 0.0
        for mask in part.masks:
            factor = next(left)
            weight = weight + (factor if mask is None else factor * mask)
        total = total.addcmul_(part.image, weight) if isinstance(weight, Tensor) else total.add_(part.image, alpha=weight)
    return total


def stacked(frame: Tensor, nearness: Tensor, change: Tensor, step: int = 1) -> Tensor:
    """[COUNT, B, 4, H/step, W/step]: every map times every mask of its, in the order of the coefficients, at every ``step``-th pixel."""

    def some(image: Tensor) -> Tensor:
        return image[..., ::step, ::step]

    parts = ((some(part.image), mask) for part in maps(frame, nearness, change) for mask in part.masks)
    return torch.stack([image if mask is None else image * some(mask) for image, mask in parts])


def blurred(image: Tensor, sigma: float) -> Tensor:
    """[B, C, H, W] through a Gaussian of ``sigma`` pixels, edges repeated; wide ones on a coarser grid."""
    factor = 1
    while sigma / factor > 1.0 and min(image.shape[-2:]) >= 8 * factor:
        factor *= 2
    height, width = image.shape[-2:]
    if factor == 1:
        return _convolved(image, sigma)
    padded = F.pad(image, (0, -width % factor, 0, -height % factor), mode="replicate")
    grid = (factor**2 - 1) / 12 + factor**2 / 6  # variance that the means over cells and the way back add
    small = _convolved(F.avg_pool2d(padded, factor), math.sqrt(sigma**2 - grid) / factor)
    return F.interpolate(small, scale_factor=float(factor), mode="bilinear", align_corners=False)[..., :height, :width]


def _convolved(image: Tensor, sigma: float) -> Tensor:
    radius = min(int(3 * sigma + 0.5), min(image.shape[-2:]) - 1)
    if radius < 1:
        return image
    bell = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(-radius, radius + 1)]
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    for axis in (-1, -2):  # sums of shifted views: for so few taps far quicker on a CPU than a convolution
        length = padded.shape[axis] - 2 * radius
        total = padded.narrow(axis, 0, length) * (bell[0] / sum(bell))
        for place, weight in enumerate(bell[1:], 1):
            total.add_(padded.narrow(axis, place, length), alpha=weight / sum(bell))
        padded = total
    return padded
