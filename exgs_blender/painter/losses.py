# SPDX-License-Identifier: GPL-3.0-or-later
"""What the painter is trained to do well. Every term is finite on flat images: no roots without an epsilon."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TYPICAL_ERROR = 0.04
"""Mean absolute error of an input of ordinary quality; its sample counts about once."""


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms; see the functions below.

    The square leads: absolute errors alone have their optimum at the median of what could be there, which for most pixels is
    no change, and training stays at the identity for thousands of steps.
    """

    pixel: float = 0.2
    square: float = 10.0
    gradient: float = 0.2
    laplacian: float = 0.02
    latent: float = 0.02
    coverage: float = 0.05
    reconstruction: float = 0.5
    identity: float = 1.0
    variance: float = 0.01


def gradient_loss(made: Tensor, truth: Tensor, scales: int = 3) -> Tensor:
    """[B] L1 between the forward differences of two images [B, C, H, W], at full, half and quarter resolution."""
    total = made.new_zeros(len(made))
    error = made - truth
    for _ in range(scales):
        total = total + _per_sample((error[..., 1:] - error[..., :-1]).abs()) + _per_sample((error[..., 1:, :] - error[..., :-1, :]).abs())
        error = F.avg_pool2d(error, 2)
    return total / scales


def laplacian_loss(made: Tensor, truth: Tensor) -> Tensor:
    """[B] L1 between what a 4-neighbour Laplacian leaves of two images [B, C, H, W]: the finest detail."""
    error = made - truth
    centre = error[..., 1:-1, 1:-1]
    around = error[..., :-2, 1:-1] + error[..., 2:, 1:-1] + error[..., 1:-1, :-2] + error[..., 1:-1, 2:]
    return _per_sample((4 * centre - around).abs())


def importance(source: Tensor, truth: Tensor) -> Tensor:
    """[B] weight of a sample, falling with the root of how wrong its input is.

    PSNR counts errors by their logarithm: a small change to a nearly perfect frame is as bad as a large one to a poor frame.
    The full inverse would do that justice, but keeps the model from learning anything from the poor ones.
    """
    return (TYPICAL_ERROR / (_per_sample((source - truth).abs()) + TYPICAL_ERROR / 4)).sqrt()


def variance_loss(latents: Tensor) -> Tensor:
    """Pulls the second moment of every latent channel [B, L, h, w] towards 1, the scale of the noise."""
    return (latents.square().mean(dim=(0, 2, 3)) - 1).square().mean()


@dataclass(frozen=True, eq=False)
class Step:
    """What one forward pass made; images [B, 4, H, W], latents [B, L, h, w], per-sample flags [B].

    ``source``, ``truth`` and ``made`` are premultiplied; ``image`` and ``truth_image``, ``rebuilt`` and ``decoded`` (the
    autoencoder's, of the source and of the denoised latents) are working images. ``clean`` marks unpruned inputs, whose
    output must be the input; ``noisy`` those that saw noise, which count in latent space alone.
    """

    source: Tensor
    truth: Tensor
    made: Tensor
    image: Tensor
    rebuilt: Tensor
    decoded: Tensor
    truth_image: Tensor
    latents: Tensor
    restored: Tensor
    truth_latents: Tensor
    clean: Tensor
    noisy: Tensor


def total_loss(step: Step, weights: LossWeights) -> tuple[Tensor, dict[str, float]]:
    """The weighted sum and its unweighted terms for the curves."""
    error, sample = step.made - step.truth, importance(step.source, step.truth) * (1 - step.noisy)
    terms = {
        "pixel": (sample * _per_sample(error.abs())).mean(),
        "square": (sample * _per_sample(error.square())).mean(),
        "gradient": (sample * gradient_loss(step.made, step.truth)).mean(),
        "laplacian": (sample * laplacian_loss(step.made, step.truth)).mean(),
        "latent": (step.restored - step.truth_latents).abs().mean(),
        "coverage": ((1 - step.noisy) * _per_sample((step.decoded[:, 3:] - step.truth_image[:, 3:]).abs())).mean(),
        "reconstruction": (step.rebuilt - step.image).abs().mean(),
        "identity": (step.clean * (1 - step.noisy) * _per_sample((step.made - step.source).abs())).mean(),
        "variance": variance_loss(step.latents),
    }
    total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    return total, {name: float(term.detach()) for name, term in terms.items()}


def _per_sample(values: Tensor) -> Tensor:
    """[B, C, H, W] -> [B] means."""
    return values.mean(dim=(1, 2, 3))
