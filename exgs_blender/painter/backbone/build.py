# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a painter from the user's own Stable Diffusion class model and pairs of renders: resumable, seeded."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...atomic import atomic_path
from ...errors import ExgsError, FileError
from ...progress import Report, silent
from ..batches import Sampling, draw, prefetch
from ..checkpoint import load_state, save_state
from ..curves import Curves
from ..pairs import PairSet, open_pairs
from ..pipeline import GaussPainterPipeline
from ..train import TrainSettings, learning_rate, update
from ..validate import choose_trust, validate
from .base import Base, read_base
from .lora import NEW_CHANNELS_RATE, Adapted, Trained, is_lora

INDEX = "build.json"
Listen = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class BuildSettings:
    """What to build.

    Attributes:
        base: folder of the base model, see ``base.read_base``.
        training: pairs, steps and so on; its ``preset`` is not used.
        rank: of LoRA.
        prompt: encoded once, and fixed from then on.
    """

    base: Path
    training: TrainSettings
    rank: int = 16
    prompt: str = ""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ExgsError(f"build-painter: 'rank' is {self.rank}, expected at least 1")


@dataclass(frozen=True)
class Built:
    """Where the pipeline is, how far the training got, how many values were trained beside how many of the base, the trust."""

    model: Path
    steps: int
    trained: int
    parameters: int
    trust: list[list[float]]


def build_painter(settings: BuildSettings, report: Report = silent, say: Listen = lambda lines: None) -> Built:
    """Train, or go on where ``training.out`` left off, and write the pipeline to ``out/model`` in float16.

    ``say`` gets the licence notes before anything is trained. ``report`` may raise CancelledError: the last checkpoint stays.

    Raises:
        FileError: the base, a folder of pairs, or the state to go on from is unusable.
        ExgsError: peft or transformers is missing, or a setting does not fit the base.
    """
    training = settings.training
    sets, held_out = ([open_pairs(folder) for folder in folders] for folders in (training.pairs, training.validation))
    report("reading the base", 0.0)
    base = read_base(settings.base, settings.prompt)
    say(base.licence.notes())
    total = sum(p.numel() for part in (base.unet, base.vae) for p in part.parameters())
    torch.manual_seed(training.seed)
    model = Adapted(base, settings.rank)
    _check_crop(training, model)
    _claim(settings, base)
    model.to(torch.device(training.device))
    trained = Trained(model.trained())
    average = trained.copy()
    done = _run(settings, model, trained, average, sets, held_out, report)
    model_folder, trust = _write(settings, base, model, trained, average, held_out, done, report)
    return Built(model_folder, done, sum(p.numel() for p in trained.parameters()), total, trust)


def _run(
    settings: BuildSettings,
    model: Adapted,
    trained: Trained,
    average: Trained,
    sets: Sequence[PairSet],
    held_out: Sequence[PairSet],
    report: Report,
) -> int:
    """The steps that are left; returns how many are done."""
    training = settings.training
    groups = [{"params": [p for n, p in trained.named_parameters() if is_lora(n.replace("/", ".")) == lora]} for lora in (True, False)]
    optimiser = torch.optim.AdamW(groups, training.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3)
    done = load_state(training.out, trained, average, optimiser)
    curves = Curves(training.out, done)
    pipeline = _pipeline(model)
    parts: Any = model  # stands in for train.Painted: it has the same two parts
    sampling = Sampling(training.batch, training.crop, training.seed)
    started = time.monotonic()
    for step, batch in prefetch(lambda s: draw(sets, sampling, s), done, training.steps, training.workers):
        for group, factor in zip(optimiser.param_groups, (1.0, NEW_CHANNELS_RATE), strict=True):
            group["lr"] = factor * learning_rate(training, step)
        curves.add(update(training, parts, optimiser, pipeline.scheduler, batch.to(pipeline.device), step))
        with torch.no_grad():
            factor = min(training.average, (step + 1) / (step + 10))
            for mean, value in zip(average.parameters(), trained.parameters(), strict=True):
                mean.lerp_(value, 1 - factor)
        done = step + 1
        report("training", done / training.steps)
        late = bool(training.time_limit) and time.monotonic() - started > training.time_limit
        last = done == training.steps or late
        if held_out and done % training.validate_every == 0 and not last:
            with trained.showing(average):
                curves.validation(done, validate(pipeline, held_out))
        if done % training.checkpoint_every == 0 or last:
            save_state(training.out, trained, average, optimiser, done)
            curves.write(done)
        if late:
            break
    return done


def _write(
    settings: BuildSettings,
    base: Base,
    model: Adapted,
    trained: Trained,
    average: Trained,
    held_out: Sequence[PairSet],
    done: int,
    report: Report,
) -> tuple[Path, list[list[float]]]:
    """The pipeline with averaged, fused weights, its card and the base's licence files; returns its folder and trust."""
    count = sum(p.numel() for p in trained.parameters())
    report("writing the painter", 0.0)
    with torch.no_grad():
        for parameter, value in zip(trained.parameters(), average.parameters(), strict=True):
            parameter.copy_(value)
    model.fuse()
    model.to(torch.float16).to(torch.float32)  # rounded first, so that the trust is chosen for the weights that are written
    pipeline = _pipeline(model)
    trust = [[row.keep, row.factor] for row in choose_trust(pipeline, held_out)] if held_out else [[1.0, 1.0]]
    pipeline.register_to_config(trust=trust)
    model.to(torch.float16)
    final = settings.training.out / "model"
    part = final.with_name(".model.part")
    shutil.rmtree(part, ignore_errors=True)
    pipeline.save_pretrained(part, max_shard_size="100GB")
    base.licence.copy_to(part)
    (part / "README.md").write_text(_card(settings, base, done, count), encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    report("writing the painter", 1.0)
    return final, trust


def _pipeline(model: Adapted) -> GaussPainterPipeline:
    """The parts as a pipeline with the base's noise schedule; they stay the same objects."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(**model.unet.config.schedule, prediction_type="sample", clip_sample=False)
    made = GaussPainterPipeline(model.vae, model.unet, scheduler, kind="backbone")
    made.set_progress_bar_config(disable=True)
    return made


def _check_crop(training: TrainSettings, model: Adapted) -> None:
    block = model.vae.factor * model.unet.stride
    if training.crop % block:
        raise ExgsError(f"build-painter: 'crop' is {training.crop}, expected a multiple of {block} for this base model")


def _claim(settings: BuildSettings, base: Base) -> None:
    """Write what ``out`` is built from, or refuse to go on in a folder that was built from something else.

    Raises:
        FileError: another base, prompt or rank.
    """
    path = settings.training.out / INDEX
    mine: dict[str, Any] = {"base": settings.base.name, "fingerprint": base.fingerprint, "rank": settings.rank}
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            different = [name for name in ("fingerprint", "rank") if found.get(name) != mine[name]]
        except (OSError, ValueError, AttributeError) as error:
            raise FileError(path, f"not readable as JSON ({error})", "Choose another output folder") from error
        if different:
            problem = f"field '{different[0]}' is {found.get(different[0])!r}, but this base, prompt and rank have {mine[different[0]]!r}"
            raise FileError(path, problem, "Choose another output folder, or the base, prompt and rank that it was begun with")
    with atomic_path(path) as part:
        part.write_text(json.dumps(mine, indent=1), encoding="utf-8")


def _card(settings: BuildSettings, base: Base, steps: int, count: int) -> str:
    """The model card, Markdown."""
    training = settings.training
    parts = [
        f"# GaussPainter on '{settings.base.name}'",
        "\n".join(base.licence.notes()),
        "- Form: `out = x + g (D(z0) - D(z))`, one step at t = 199 without noise; the colours over black go through the base's "
        "autoencoder, alpha beside it.\n"
        f"- Trained: LoRA of rank {settings.rank} and the new channels, {count:,} values, fused into the weights. {steps:,} steps, batch "
        f"{training.batch}, crops of {training.crop} pixels, AdamW at {training.learning_rate:g}, seed {training.seed}.\n"
        f"- Prompt: '{settings.prompt}', stored as an embedding. Stored as float16.",
        "Pairs: " + ", ".join(folder.name for folder in training.pairs) + ".",
        "Validated on: " + (", ".join(folder.name for folder in training.validation) or "nothing; no factor was chosen") + ".",
    ]
    return "\n\n".join(parts) + "\n"
