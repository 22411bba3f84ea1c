# SPDX-License-Identifier: GPL-3.0-or-later
"""PSNR of pairs before and after restoration, and how far validation scenes trust the predicted change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..cameras import evenly_picked
from .masks import GUIDANCE, gate
from .pairs import U8, PairSet
from .pipeline import GaussPainterPipeline, clamp_premultiplied, pad_to_multiple, predict_change

VIEWS = 2
"""Views per size and keep ratio that the curves look at, evenly spread."""
WINDOW = 256
"""Side of the middle of a frame that the curves look at."""
TRUST_VIEWS = 4
"""Views per size and keep ratio that choose the trust, whole frames."""
FACTORS = tuple(i / 20 for i in range(21))
HARM = -0.03
"""No validation frame may lose more dB than this."""


def psnr(made: Tensor, truth: Tensor) -> float:
    """dB of the colours of two RGBA images [B, 4, H, W], premultiplied (over black), clipped to 0..1; at most 100."""
    error = (made[:, :3].clamp(0, 1) - truth[:, :3].clamp(0, 1)).square().mean()
    return float(-10 * torch.log10(error.clamp_min(1e-10)))


@torch.inference_mode()
def changes(
    pipeline: GaussPainterPipeline, sets: Sequence[PairSet], views: int, window: int | None = None
) -> Iterator[tuple[str, float, Tensor, Tensor, Tensor]]:
    """(scene, nominal ratio, input, truth, gated change without trust) of every view looked at; images [1, 4, H, W]."""
    vae, unet = pipeline.vae, pipeline.unet
    assert int(unet.config.in_channels) == int(vae.config.latent_channels) + len(GUIDANCE)
    for pairs in sets:
        for group in pairs.groups:
            picked = evenly_picked(len(group[1.0]), views)
            for ratio in pairs.ratios:
                for view in picked:
                    source, truth = (_image(group[r][view], window).to(vae.device) for r in (ratio, 1.0))
                    padded = pad_to_multiple(source, vae.factor * unet.stride)
                    keep = torch.tensor([pairs.kept[ratio]], device=vae.device)
                    change = predict_change(vae, unet, pipeline.scheduler, padded, keep, int(pipeline.config.timestep))
                    height, width = source.shape[-2:]
                    gated = gate(padded[:, 3:4], keep, vae.factor) * change
                    yield pairs.name, ratio, source[:, :4], truth[:, :4], gated[..., :height, :width]


def validate(pipeline: GaussPainterPipeline, sets: Sequence[PairSet]) -> dict[str, float]:
    """Mean gain in dB per keep ratio (``gain_0.1``), over all (``gain``), and the worst frame's (``worst``), at full trust."""
    gains: dict[float, list[float]] = {}
    for _, ratio, source, truth, change in changes(pipeline, sets, VIEWS, WINDOW):
        gains.setdefault(ratio, []).append(_improvement(source, truth, change))
    everything = [g for row in gains.values() for g in row]
    means = {f"gain_{ratio:g}": float(np.mean(row)) for ratio, row in sorted(gains.items())}
    return {"gain": float(np.mean(everything)), "worst": min(everything), **means}


@dataclass(frozen=True)
class Trust:
    """The factor chosen for a keep ratio, and what it did to the validation frames: mean and worst dB."""

    keep: float
    factor: float
    mean: float
    worst: float


def choose_trust(pipeline: GaussPainterPipeline, sets: Sequence[PairSet]) -> list[Trust]:
    """For each keep ratio the factor with the best mean gain of those that harm no frame (0 never does).

    ``sets`` must be validation scenes: neither trained on nor reported on.
    """
    rows: dict[float, dict[float, list[float]]] = {}
    for _, ratio, source, truth, change in changes(pipeline, sets, TRUST_VIEWS):
        row = rows.setdefault(ratio, {factor: [] for factor in FACTORS})
        for factor in FACTORS:
            row[factor].append(_improvement(source, truth, factor * change))
    chosen = []
    for ratio in sorted(rows):
        table = [_trust(ratio, factor, gains) for factor, gains in rows[ratio].items()]
        chosen.append(max((t for t in table if t.worst >= HARM), key=lambda t: (round(t.mean, 3), -t.factor)))
    return chosen


def _trust(ratio: float, factor: float, gains: list[float]) -> Trust:
    return Trust(ratio, factor, float(np.mean(gains)), min(gains))


def _improvement(source: Tensor, truth: Tensor, change: Tensor) -> float:
    """dB that a change gains."""
    return psnr(clamp_premultiplied(source + change, source), truth) - psnr(source, truth)


def _image(stored: U8, window: int | None) -> Tensor:
    """[H, W, 5] uint8 -> the middle ``window`` of it as [1, 5, h, w] float32 in 0..1."""
    if window is not None:
        top, left = (max(side - window, 0) // 2 for side in stored.shape[:2])
        stored = stored[top : top + window, left : left + window]
    return torch.from_numpy(stored.astype(np.float32).transpose(2, 0, 1)[None] / 255)
