# SPDX-License-Identifier: GPL-3.0-or-later
"""What the denoiser is told about a frame beside its colours: where coverage is missing, how far things are, what was kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

GUIDANCE = ("hole_mean", "hole_max", "nearness", "pruning")
"""The guidance channels in order; a checkpoint's denoiser takes latents and then these."""

SUPPORT_RADIUS = 16
"""Pixels around covered ones that may be painted; farther into the empty background nothing changes."""
COVERED = 1 / 255
FULL_PRUNING = 1e-2
"""The keep ratio at which the pruning channel is 1; it grows with the logarithm, up to MAX_PRUNING."""
MAX_PRUNING = 1.5
FULL_REPAIR, UNTOUCHED = 0.2, 0.5
"""Keep ratios: from the first down the whole predicted change is used, from the second up none."""


def nearness_from_depth(depth: Tensor, alpha: Tensor) -> Tensor:
    """Normalised inverse depth without the scene's scale: m / (m + depth), m the median depth of the covered pixels.

    Args:
        depth: [B, 1, H, W] expected depth, world units, 0 where nothing is hit.
        alpha: [B, 1, H, W].

    Returns:
        [B, 1, H, W]: 1 at the camera, 0.5 at the median, towards 0 far away; exactly 0 where nothing is covered. Computed
        on whole frames: a crop has another median.
    """
    covered = (alpha > COVERED) & (depth > 0) & torch.isfinite(depth)
    nearness = torch.zeros_like(depth)
    for image, where, target in zip(depth, covered, nearness, strict=True):
        if bool(where.any()):
            median = image[where].median()
            target[where] = median / (median + image[where])
    return nearness


def pruning_level(keep_ratio: Tensor) -> Tensor:
    """[B] keep ratios in (0, 1] -> 0 at 100 %, 1 at 1 %, linear in the logarithm, at most MAX_PRUNING."""
    return (torch.log(keep_ratio.clamp(1e-6, 1.0)) / math.log(FULL_PRUNING)).clamp(0.0, MAX_PRUNING)


def guidance(alpha: Tensor, nearness: Tensor, keep_ratio: Tensor, factor: int) -> Tensor:
    """The guidance channels at latent resolution.

    Args:
        alpha: [B, 1, H, W] accumulated opacity, sides multiples of ``factor``.
        nearness: [B, 1, H, W] from :func:`nearness_from_depth`.
        keep_ratio: [B] in (0, 1].
        factor: pixels per latent cell.

    Returns:
        [B, 4, H / factor, W / factor], channels as in ``GUIDANCE``.
    """
    hole = 1 - alpha
    mean, peak = F.avg_pool2d(hole, factor), F.max_pool2d(hole, factor)
    near = F.avg_pool2d(nearness, factor)
    level = pruning_level(keep_ratio).view(-1, 1, 1, 1).expand_as(mean)
    return torch.cat([mean, peak, near, level.to(mean.dtype)], dim=1)


def support_of(alpha: Tensor, factor: int) -> Tensor:
    """Where frames may change: [B, 1, H, W] in 0..1, 1 within SUPPORT_RADIUS pixels of any coverage, falling to 0 over one cell."""
    covered = (F.max_pool2d(alpha, factor) > COVERED).to(alpha.dtype)
    cells = -(-SUPPORT_RADIUS // factor)
    support = F.max_pool2d(covered, 2 * cells + 1, stride=1, padding=cells)
    return F.interpolate(support, scale_factor=float(factor), mode="bilinear", align_corners=False)


def gate(alpha: Tensor, keep_ratio: Tensor, factor: int) -> Tensor:
    """How much of the predicted change reaches each pixel: [B, 1, H, W] in 0..1, :func:`support_of` times :func:`repair_level`."""
    return support_of(alpha, factor) * repair_level(keep_ratio).view(-1, 1, 1, 1).to(alpha.dtype)


def repair_level(keep_ratio: Tensor) -> Tensor:
    """[B] keep ratios -> how much to repair: exactly 0 from UNTOUCHED up, 1 from FULL_REPAIR down, linear in the logarithm between."""
    return (torch.log(keep_ratio.clamp(1e-6, 1.0) / UNTOUCHED) / math.log(FULL_REPAIR / UNTOUCHED)).clamp(0.0, 1.0)
