# SPDX-License-Identifier: GPL-3.0-or-later
"""PSNR of pairs before and after restoration, and the gain that validation scenes ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .masks import GUIDANCE
from .pairs import U8, PairSet
from .pipeline import GaussPainterPipeline, apply_change, clamp_premultiplied, pad_to_multiple, predict_change

VIEWS = 2
"""Views per size and keep ratio that a validation looks at, evenly spread."""
WINDOW = 256
"""Side of the middle of a frame that the curves look at; the gain is chosen on whole frames."""
GAINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)


def psnr(made: Tensor, truth: Tensor) -> float:
    """dB of the colours of two RGBA images [B, 4, H, W], premultiplied (over black), clipped to 0..1; at most 100."""
    error = (made[:, :3].clamp(0, 1) - truth[:, :3].clamp(0, 1)).square().mean()
    return float(-10 * torch.log10(error.clamp_min(1e-10)))


@torch.inference_mode()
def changes(
    pipeline: GaussPainterPipeline, sets: Sequence[PairSet], window: int | None = None
) -> Iterator[tuple[str, float, Tensor, Tensor, Tensor]]:
    """(scene, nominal ratio, input, truth, gated change before the gain) of every view looked at; images [1, 4, H, W]."""
    vae, unet = pipeline.vae, pipeline.unet
    assert int(unet.config.in_channels) == int(vae.config.latent_channels) + len(GUIDANCE)
    for pairs in sets:
        for group in pairs.groups:
            views = np.unique(np.linspace(0, len(group[1.0]) - 1, VIEWS).round().astype(int))
            for ratio in pairs.ratios:
                for view in views:
                    source, truth = (_image(group[r][view], window).to(vae.device) for r in (ratio, 1.0))
                    padded = pad_to_multiple(source, vae.factor * unet.stride)
                    keep = torch.tensor([pairs.kept[ratio]], device=vae.device)
                    change, weight = predict_change(vae, unet, pipeline.scheduler, padded, keep, int(pipeline.config.timestep))
                    height, width = source.shape[-2:]
                    yield pairs.name, ratio, source[:, :4], truth[:, :4], (weight * change)[..., :height, :width]


def validate(pipeline: GaussPainterPipeline, sets: Sequence[PairSet], window: int | None = WINDOW) -> dict[str, float]:
    """Mean gain in dB per keep ratio (``gain_0.1``), over all (``gain``), and the worst frame's (``worst``)."""
    gains: dict[float, list[float]] = {}
    for _, ratio, source, truth, change in changes(pipeline, sets, window):
        made = clamp_premultiplied(apply_change(source, float(pipeline.config.gain) * change), source)
        gains.setdefault(ratio, []).append(psnr(made, truth) - psnr(source, truth))
    everything = [g for row in gains.values() for g in row]
    means = {f"gain_{ratio:g}": float(np.mean(row)) for ratio, row in sorted(gains.items())}
    return {"gain": float(np.mean(everything)), "worst": min(everything), **means}


def best_gain(pipeline: GaussPainterPipeline, sets: Sequence[PairSet]) -> tuple[float, dict[float, tuple[float, float]]]:
    """The factor of ``GAINS`` with the best mean PSNR among those with the fewest harmed frames, and (mean, worst) of each.

    ``sets`` must be validation scenes: neither trained on nor reported on.
    """
    rows: dict[float, list[float]] = {gain: [] for gain in GAINS}
    for _, _, source, truth, change in changes(pipeline, sets):
        before = psnr(source, truth)
        for gain in GAINS:
            rows[gain].append(psnr(clamp_premultiplied(apply_change(source, gain * change), source), truth) - before)
    table = {gain: (float(np.mean(row)), min(row)) for gain, row in rows.items()}
    harmed = {gain: sum(value < 0 for value in row) for gain, row in rows.items()}
    return min(GAINS, key=lambda gain: (harmed[gain], -table[gain][0])), table


def _image(stored: U8, window: int | None) -> Tensor:
    """[H, W, 5] uint8 -> the middle ``window`` of it as [1, 5, h, w] float32 in 0..1."""
    if window is not None:
        top, left = (max(side - window, 0) // 2 for side in stored.shape[:2])
        stored = stored[top : top + window, left : left + window]
    return torch.from_numpy(stored.astype(np.float32).transpose(2, 0, 1)[None] / 255)
