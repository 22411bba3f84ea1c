# SPDX-License-Identifier: GPL-3.0-or-later
"""``exgs train-painter``: a GaussPainter checkpoint from captures."""

from __future__ import annotations

import argparse
from pathlib import Path

from .terminal import Terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("work", metavar="WORK", help="folder for pairs, state and curves; the same command goes on where it stopped")
    views = "captures; a transforms.json or cameras.json beside one gives its views, else two rings around it"
    parser.add_argument("--scenes", required=True, nargs="+", metavar="CAPTURE", help=f"{views}. Twenty varied ones are not too many")
    parser.add_argument("--validation", required=True, nargs="+", metavar="CAPTURE", help="captures that choose how far it is trusted")
    cuts = "how they are pruned: the paper's way, merged blindly, or merged and re-fitted (default: the first two)"
    parser.add_argument("--cuts", nargs="+", choices=("exgs", "decimate", "merge"), default=["exgs", "decimate"], help=cuts)
    parser.add_argument(
        "--ratios", nargs="+", type=float, default=[0.2, 0.1, 0.04, 0.02, 0.01], metavar="KEEP", help="keep ratios of the pairs"
    )
    sides = "longer sides of the pairs' images; the views take turns (default 320 480 640)"
    parser.add_argument("--sides", nargs="+", type=int, default=[320, 480, 640], metavar="PIXELS", help=sides)
    parser.add_argument("--output", default="", metavar="FOLDER", help="the checkpoint (default: WORK/model)")
    parser.add_argument("--preset", choices=("tiny", "fast", "full"), default="fast", help="size (default fast: 2 million values)")
    parser.add_argument("--steps", type=int, default=9000, help="over which the learning rate falls to zero (default 9000)")
    parser.add_argument("--batch", type=int, default=8, help="samples a step (default 8)")
    parser.add_argument("--crop", type=int, default=96, metavar="PIXELS", help="side of the samples, a multiple of 32 (default 96)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="at its highest (default 0.001)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default cpu)")
    parser.add_argument("--time-limit", type=float, default=0.0, metavar="SECONDS", help="stop then, to go on later")


def run(options: argparse.Namespace, terminal: Terminal) -> None:
    """Train, and say what came out."""
    from ..painter.pairs import PairSettings
    from ..painter.recipe import Recipe, train_painter
    from ..painter.train import TrainSettings

    work = Path(options.work)
    pairs = PairSettings(tuple(options.ratios), tuple(options.sides))
    recipe = Recipe(work, tuple(map(Path, options.scenes)), tuple(map(Path, options.validation)), tuple(options.cuts), pairs)
    settings = TrainSettings(
        pairs=(work,),
        out=work,
        preset=options.preset,
        steps=options.steps,
        batch=options.batch,
        crop=options.crop,
        learning_rate=options.learning_rate,
        seed=options.seed,
        device=options.device,
        checkpoint_every=200,
        validate_every=600,
        time_limit=options.time_limit,
    )
    trained = train_painter(recipe, settings, Path(options.output) if options.output else work / "model", terminal.report)
    trust = ", ".join(f"{row.factor:g} at {100 * row.keep:g} % ({row.mean:+.2f} dB, worst {row.worst:+.2f})" for row in trained.trust)
    unfinished = ["  stopped by the time limit; the same command goes on"] if trained.steps < options.steps else []
    lines = [
        f"{trained.model}: {trained.steps:,} of {options.steps:,} steps",
        *unfinished,
        f"  trusted on the validation scenes: {trust}",
        f"  use it with: exgs render ASSET ... --checkpoint {trained.model}",
    ]
    values = {"model": str(trained.model), "steps": trained.steps, "trust": [vars(row) for row in trained.trust]}
    terminal.result(values, lines)
