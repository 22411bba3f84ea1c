# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains GaussPainter on cached pairs: resumable, seeded, on the CPU or with bfloat16 on CUDA."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ExgsError
from ..progress import Report, silent
from .autoencoder import PainterAutoencoder
from .batches import Batch, Sampling, draw, prefetch
from .checkpoint import load_state, save_state
from .curves import Curves
from .denoiser import make_denoiser
from .losses import LossWeights, Step, total_loss
from .masks import GUIDANCE, gate, guidance
from .pairs import open_pairs
from .pipeline import TIMESTEP, GaussPainterPipeline, make_scheduler, one_step
from .validate import validate

Preset = Literal["tiny", "fast", "full"]
NOISE_STEPS = (1, 400)


@dataclass(frozen=True)
class Size:
    """Widths of the model: latents, autoencoder, denoiser levels, blocks per level; pixels per latent cell."""

    latents: int
    width: int
    levels: tuple[int, ...]
    layers: int
    factor: int = 4


SIZES: dict[str, Size] = {
    "tiny": Size(64, 16, (16, 16), 1),
    "fast": Size(64, 64, (48, 64, 96), 1),
    "full": Size(64, 128, (96, 192, 256), 2),
}


@dataclass(frozen=True)
class TrainSettings:
    """One training run.

    Attributes:
        pairs: folders of training pairs; validation: folders of scenes never trained on, for the curves.
        out: folder for ``state.safetensors``, ``curves.csv`` and ``model/``, the pipeline with averaged weights.
        preset: size of the model.
        steps: the learning rate warms up and falls to zero along a cosine over these steps.
        batch, crop: samples per step and their side in pixels (a multiple of 32).
        noise_share: share of the samples that see noise at a random timestep; the rest is as deployed.
        average: factor of the exponential moving average of the weights.
        time_limit: stop after so many seconds with a checkpoint, to go on later; 0 for no limit.
        workers: threads that draw batches ahead.
        refitted: the pairs' clouds were fitted to the views after pruning; goes into the checkpoint as ``repairs_refitted``.
    """

    pairs: tuple[Path, ...]
    out: Path
    validation: tuple[Path, ...] = ()
    preset: Preset = "fast"
    steps: int = 20_000
    batch: int = 8
    crop: int = 64
    learning_rate: float = 1.2e-3
    warmup: int = 100
    noise_share: float = 0.1
    average: float = 0.998
    seed: int = 0
    device: str = "cpu"
    checkpoint_every: int = 500
    validate_every: int = 1000
    time_limit: float = 0.0
    workers: int = 0
    refitted: bool = False
    weights: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        if not self.pairs:
            raise ExgsError("training: 'pairs' is empty, expected at least one folder of pairs")
        if self.crop % 32 or self.crop < 32:
            raise ExgsError(f"training: 'crop' is {self.crop}, expected a multiple of 32")
        if self.preset not in SIZES:
            raise ExgsError(f"training: 'preset' is '{self.preset}', expected one of {', '.join(SIZES)}")


class Painted(nn.Module):
    """The trained parts together, so that one state holds them."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        size = SIZES[preset]
        self.vae = PainterAutoencoder(latent_channels=size.latents, factor=size.factor, width=size.width)
        self.unet = make_denoiser(size.latents + len(GUIDANCE), size.latents, size.levels, size.layers)


def train(settings: TrainSettings, report: Report = silent) -> Path:
    """Train, or go on where ``out`` left off; returns the folder of the pipeline.

    The same settings give the same weights on the same machine, interrupted or not. ``report`` may raise CancelledError: the
    last checkpoint stays.

    Raises:
        FileError: a folder of pairs or the state to go on from is unusable.
    """
    sets = [open_pairs(folder) for folder in settings.pairs]
    held_out = [open_pairs(folder) for folder in settings.validation]
    device = torch.device(settings.device)
    torch.manual_seed(settings.seed)
    model = Painted(settings.preset).to(device)
    average = Painted(settings.preset).to(device)
    average.load_state_dict(model.state_dict())
    average.requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), settings.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    done = load_state(settings.out, model, average, optimiser)
    curves = Curves(settings.out, done)
    sampling = Sampling(settings.batch, settings.crop, settings.seed)
    started = time.monotonic()
    scheduler = make_scheduler()
    for step, batch in prefetch(lambda s: draw(sets, sampling, s), done, settings.steps, settings.workers):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings, step)
        curves.add(update(settings, model, optimiser, scheduler, batch.to(device), step))
        _follow(average, model, min(settings.average, (step + 1) / (step + 10)))
        done = step + 1
        report("training", done / settings.steps)
        late = bool(settings.time_limit) and time.monotonic() - started > settings.time_limit
        last = done == settings.steps or late
        if held_out and (done % settings.validate_every == 0 or last):
            curves.validation(done, validate(pipeline_of(average), held_out))
        if done % settings.checkpoint_every == 0 or last:
            save_state(settings.out, model, average, optimiser, done)
            curves.write(done)
        if late:
            break
    folder = settings.out / "model"
    pipeline_of(average).save_pretrained(folder)
    return folder


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Warm-up, then half a cosine down to zero at the last step."""
    warm = min((step + 1) / max(settings.warmup, 1), 1.0)
    return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / settings.steps))


def pipeline_of(model: Painted) -> GaussPainterPipeline:
    """The parts as a pipeline; they stay the same objects."""
    return GaussPainterPipeline(model.vae, model.unet, make_scheduler())


def forward(model: Painted, scheduler: object, batch: Batch, noise: Tensor, timesteps: Tensor, noisy: Tensor) -> Step:
    """One forward pass as deployed, except that samples with ``noisy`` [B] = 1 see ``noise`` [B, L, h, w]."""
    source, near = batch.degraded[:, :4], batch.degraded[:, 4:]
    alpha = source[:, 3:]
    masks = guidance(alpha, near, batch.keep, model.vae.factor)
    latents = model.vae.encode(source)
    restored, unchanged = one_step(model.vae, model.unet, scheduler, latents, masks, timesteps, noise * noisy.view(-1, 1, 1, 1))
    after, before = model.vae.decode(torch.cat([restored, unchanged])).chunk(2)
    made = source + gate(alpha, batch.keep, model.vae.factor) * (after - before)
    with torch.no_grad():
        truth_latents = model.vae.encode(batch.truth)
    return Step(source, batch.truth, made, before, restored, truth_latents, noisy)


def update(
    settings: TrainSettings, model: Painted, optimiser: torch.optim.Optimizer, scheduler: object, batch: Batch, step: int
) -> dict[str, float]:
    """One optimiser step of a model with ``vae`` and ``unet``; returns the loss terms. Noise follows from the seed and the step."""
    device = batch.keep.device
    rng = np.random.default_rng([settings.seed, step, 1])
    noisy = torch.from_numpy((rng.random(len(batch.keep)) < settings.noise_share).astype(np.float32)).to(device)
    times = torch.from_numpy(rng.integers(*NOISE_STEPS, len(batch.keep))).to(device)
    timesteps = torch.where(noisy > 0, times, TIMESTEP)
    cells = settings.crop // model.vae.factor
    shape = (len(batch.keep), int(model.vae.config.latent_channels), cells, cells)
    noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        loss, terms = total_loss(forward(model, scheduler, batch, noise, timesteps, noisy), settings.weights)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    size = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    if bool(torch.isfinite(size)):
        optimiser.step()
    return {"loss": float(loss.detach()), "gradient_norm": float(size), **terms}


@torch.no_grad()
def _follow(average: Painted, model: Painted, factor: float) -> None:
    """average <- factor * average + (1 - factor) * model."""
    for mean, value in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, 1 - factor)
