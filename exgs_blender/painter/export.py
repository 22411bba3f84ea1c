# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished training run -> a checkpoint to ship: averaged weights in half precision, the trust, the model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ..atomic import atomic_path
from ..errors import ExgsError
from .checkpoint import load_state
from .denoiser import parameter_count
from .pairs import open_pairs
from .train import SIZES, Painted, TrainSettings, pipeline_of
from .validate import Trust, choose_trust


@dataclass(frozen=True)
class Card:
    """What the model card says beside the settings.

    Attributes:
        scenes: one line for each training scene: name, origin, licence.
        validation: one line for each scene that chose the trust.
        held_out: one line for each scene that only the final table has seen.
        remarks: sentences about what was done that the settings do not tell.
        table: measured results, Markdown.
    """

    scenes: Sequence[str]
    validation: Sequence[str]
    held_out: Sequence[str]
    remarks: Sequence[str] = ()
    table: str = ""


def export(settings: TrainSettings, folder: Path, card: Card) -> list[Trust]:
    """Write the run's averaged model to ``folder``; returns the trust that the validation scenes chose.

    Raises:
        ExgsError: the run has no state yet, or no validation scenes.
    """
    model, average = Painted(settings.preset), Painted(settings.preset)
    step = load_state(settings.out, model, average, torch.optim.AdamW(model.parameters()))
    if step == 0:
        raise ExgsError(f"{settings.out}: no training state here; train first")
    if not settings.validation:
        raise ExgsError("export: 'validation' is empty, expected scenes that were not trained on, to choose the trust")
    # Rounded first, so that the trust is chosen for the weights that are shipped.
    average.to(torch.float16).to(torch.float32)
    average.eval()
    pipeline = pipeline_of(average)
    trust = choose_trust(pipeline, [open_pairs(pairs) for pairs in settings.validation])
    pipeline.register_to_config(trust=[[row.keep, row.factor] for row in trust], repairs_refitted=settings.refitted)
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)
    with atomic_path(folder / "README.md") as part:
        part.write_text(card_text(settings, card, step, average, trust), encoding="utf-8")
    return trust


def card_text(settings: TrainSettings, card: Card, step: int, model: Painted, trust: Sequence[Trust]) -> str:
    """The model card, Markdown."""
    size = SIZES[settings.preset]
    trials = ", ".join(f"{row.factor:g} at {100 * row.keep:g} % ({row.mean:+.2f} / {row.worst:+.2f})" for row in trust)
    weights = ", ".join(f"{name} {value:g}" for name, value in asdict(settings.weights).items())
    parts = [
        f"# GaussPainter, size '{settings.preset}'",
        "One-step latent diffusion that repairs renders of pruned 3D Gaussian splat scenes, trained from scratch on pairs of renders. "
        "It has seen a handful of scenes and nothing else: it mends holes, seams and blur between splats; it does not invent "
        "what is gone.",
        f"- Form: `out = x + g (D(z0) - D(z))`, one step at t = 199 without noise; premultiplied RGBA in and out.\n"
        f"- Parameters: autoencoder {parameter_count(model.vae):,} ({size.factor} pixels a cell, {size.latents} channels), denoiser "
        f"{parameter_count(model.unet):,} (widths {', '.join(map(str, size.levels))}). Stored as float16.\n"
        f"- Training: {step:,} steps, batch {settings.batch}, crops of {settings.crop} pixels, AdamW at {settings.learning_rate:g}, "
        f"seed {settings.seed}, {100 * settings.noise_share:g} % of the samples with noise at t in 1 to 400.\n"
        f"- Losses: {weights}.\n"
        f"- Factor on the predicted change, chosen on the validation scenes (mean / worst dB there): {trials}.",
        "## Scenes\n\nTrained on:\n\n" + _lines(card.scenes),
        "Validated on (curves, factor; never trained on):\n\n" + _lines(card.validation),
        "Held out (only in the table below):\n\n" + _lines(card.held_out),
        _lines(card.remarks),
        card.table,
        "Licence: GPL-3.0-or-later, as the program. No weights of another model are in it.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _lines(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
