# SPDX-License-Identifier: GPL-3.0-or-later
"""What the painter is trained to do well: lower the error of every sample by as large a factor as possible."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SQUARE_FLOOR = 1e-5
"""Added to squared errors (50 dB): a sample that is nearly perfect has nothing to gain."""
ABSOLUTE_FLOOR = 4e-3


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms; see :func:`total_loss`."""

    decibel: float = 1.0
    absolute: float = 0.5
    reconstruction: float = 0.2
    latent: float = 0.1


@dataclass(frozen=True, eq=False)
class Step:
    """What one forward pass made; premultiplied images [B, 4, H, W], latents [B, L, h, w], flags [B].

    Attributes:
        source, truth, made: the input, what it should be, and the output.
        rebuilt: the autoencoder's version of the input.
        restored, truth_latents: the denoiser's result and the truth's latents.
        noisy: 1 for samples that saw noise; they count in latent space alone.
    """

    source: Tensor
    truth: Tensor
    made: Tensor
    rebuilt: Tensor
    restored: Tensor
    truth_latents: Tensor
    noisy: Tensor


def decibel_loss(made: Tensor, source: Tensor, truth: Tensor) -> Tensor:
    """[B] log(MSE out / MSE in): PSNR's own measure (4.34 dB a unit).

    Plain squared or absolute errors let the poorest inputs decide, and a good input is then harmed for a poor one's sake.
    """
    after, before = (_per_sample((image - truth).square()) for image in (made, source))
    return torch.log(after + SQUARE_FLOOR) - torch.log(before + SQUARE_FLOOR)


def absolute_loss(made: Tensor, source: Tensor, truth: Tensor) -> Tensor:
    """[B] L1 out / L1 in: keeps edges sharp where the square alone would average."""
    return _per_sample((made - truth).abs()) / (_per_sample((source - truth).abs()) + ABSOLUTE_FLOOR)


def total_loss(step: Step, weights: LossWeights) -> tuple[Tensor, dict[str, float]]:
    """The weighted sum and its unweighted terms for the curves."""
    deployed = 1 - step.noisy
    terms = {
        "decibel": (deployed * decibel_loss(step.made, step.source, step.truth)).mean(),
        "absolute": (deployed * absolute_loss(step.made, step.source, step.truth)).mean(),
        "reconstruction": (deployed * _per_sample((step.rebuilt - step.source).abs())).mean(),
        "latent": (step.noisy * _per_sample((step.restored - step.truth_latents).abs())).mean(),
    }
    total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    return total, {name: float(term.detach()) for name, term in terms.items()}


def _per_sample(values: Tensor) -> Tensor:
    """[B, C, H, W] -> [B] means."""
    return values.mean(dim=(1, 2, 3))
