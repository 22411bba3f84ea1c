# SPDX-License-Identifier: GPL-3.0-or-later
"""``exgs build-painter``: a painter from the user's own Stable Diffusion class model."""

from __future__ import annotations

import argparse
from pathlib import Path

from .terminal import Terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--base", required=True, metavar="FOLDER", help="your SD-Turbo-class model in diffusers' layout, safetensors only")
    parser.add_argument("--pairs", required=True, nargs="+", metavar="FOLDER", help="training pairs")
    parser.add_argument("--validation", nargs="+", default=[], metavar="FOLDER", help="pairs of scenes not trained on: curves and trust")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="state, curves and model/; the same folder goes on")
    parser.add_argument("--steps", type=int, default=5000, help="over which the learning rate falls to zero (default 5000)")
    parser.add_argument("--batch", type=int, default=2, help="samples a step (default 2)")
    parser.add_argument("--crop", type=int, default=512, metavar="PIXELS", help="side of the samples (default 512)")
    parser.add_argument("--rank", type=int, default=16, help="of LoRA (default 16)")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="of LoRA (default 1e-4)")
    parser.add_argument("--prompt", default="", help="what the model is told, encoded once (default: nothing)")
    parser.add_argument("--device", default="auto", help="cuda, mps or cpu (default: the best there is)")
    parser.add_argument("--time-limit", type=float, default=0.0, metavar="SECONDS", help="stop then, to go on later")


def run(options: argparse.Namespace, terminal: Terminal) -> None:
    """Build, and say what came out."""
    from ..painter.backbone.build import BuildSettings, build_painter
    from ..painter.devices import choose_device
    from ..painter.train import TrainSettings

    training = TrainSettings(
        pairs=tuple(Path(folder) for folder in options.pairs),
        validation=tuple(Path(folder) for folder in options.validation),
        out=Path(options.output),
        steps=options.steps,
        batch=options.batch,
        crop=options.crop,
        learning_rate=options.learning_rate,
        noise_share=0.0,
        device=str(choose_device(options.device)[0]),
        checkpoint_every=100,
        validate_every=500,
        time_limit=options.time_limit,
    )
    settings = BuildSettings(Path(options.base), training, options.rank, options.prompt)
    built = build_painter(settings, terminal.report, lambda lines: terminal.say("\n".join(lines)))
    unfinished = built.steps < options.steps
    values_trained = f"{built.trained:,} values trained beside the base's {built.parameters:,}"
    lines = [
        f"{built.model}: {built.steps:,} of {options.steps:,} steps, {values_trained}",
        *(["  stopped by the time limit; the same command goes on"] if unfinished else []),
        f"  use it with: exgs render ASSET ... --checkpoint {built.model}",
    ]
    values = {"model": str(built.model), "steps": built.steps, "trained": built.trained, "trust": built.trust}
    terminal.result(values, lines)
