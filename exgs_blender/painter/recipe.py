# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way to a checkpoint: captures -> pairs of renders -> training -> weights with their model card. Goes on where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..cameras import Cameras, concatenate, read_cameras
from ..cameras.trajectories import extent_of, orbit
from ..errors import ExgsError
from ..formats import registry
from ..progress import Report, silent
from ..splats import Gaussians
from .curves import last_scores
from .degrade import Compressor, Cut
from .export import Card, export
from .pairs import INDEX, PairSettings, make_pairs
from .train import TrainSettings, train
from .validate import Trust

CAMERA_FILES = ("transforms.json", "cameras.json")
RING = 16
SCORING_SIDE = 400
MOST_SCORED = 28


@dataclass(frozen=True)
class Recipe:
    """What to train on.

    Attributes:
        work: folder for ``pairs/``, the training state and the curves.
        scenes, validation: captures, files or folders; a camera file that lies beside one (CAMERA_FILES) gives its views.
        cuts: how they are pruned.
        pairs: sizes and keep ratios.
    """

    work: Path
    scenes: tuple[Path, ...]
    validation: tuple[Path, ...]
    cuts: tuple[Cut, ...] = ("exgs", "decimate")
    pairs: PairSettings = field(default_factory=PairSettings)

    def folders(self, scenes: Sequence[Path]) -> tuple[Path, ...]:
        """Where the pairs of these scenes lie."""
        return tuple(self.work / "pairs" / f"{name_of(scene)}-{cut}" for scene in scenes for cut in self.cuts)


@dataclass(frozen=True)
class Trained:
    """The checkpoint's folder, steps done, the trust that validation chose."""

    model: Path
    steps: int
    trust: tuple[Trust, ...]


def train_painter(recipe: Recipe, settings: TrainSettings, model: Path, report: Report = silent) -> Trained:
    """Make the pairs that are missing, train or go on training, and write the checkpoint to ``model``.

    Args:
        settings: of the training; its folders are taken from the recipe.

    Raises:
        ExgsError: no scenes, two of one name, or the same one trained and validated on.
        FileError: a capture or a camera file cannot be read.
    """
    names = [name_of(scene) for scene in (*recipe.scenes, *recipe.validation)]
    if not recipe.scenes or not recipe.validation:
        raise ExgsError("training: expected at least one scene to train on and one to validate on")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ExgsError(f"training: two scenes are named '{twice[0]}'; give each file or folder another name, and no scene twice")
    counts = {name_of(scene): _pairs_of(scene, recipe, report) for scene in (*recipe.scenes, *recipe.validation)}
    settings = replace(
        settings,
        pairs=recipe.folders(recipe.scenes),
        validation=recipe.folders(recipe.validation),
        out=recipe.work / settings.preset,
        refitted="merge" in recipe.cuts,
    )
    train(settings, report)
    card = Card(
        scenes=[f"{name_of(scene)}, {counts[name_of(scene)]}" for scene in recipe.scenes],
        validation=[f"{name_of(scene)}, {counts[name_of(scene)]}" for scene in recipe.validation],
        held_out=["none named; measure on scenes that are in neither list"],
        remarks=[f"Cuts of the pairs: {', '.join(recipe.cuts)}; keep ratios {', '.join(f'{100 * r:g} %' for r in recipe.pairs.ratios)}."],
        table=_scores(settings.out),
    )
    trust = export(settings, model, card)
    return Trained(model, int(last_scores(settings.out).get("step", 0)), tuple(trust))


def name_of(scene: Path) -> str:
    """A capture's name among the pairs: the file's, or its folder's where the file is called point_cloud."""
    scene = scene.resolve()
    stem = scene.name.split(".")[0]
    return scene.parent.name if stem in ("point_cloud", "splat", "scene") else stem


def views_of(scene: Path, cloud: Gaussians) -> tuple[Cameras, Cameras]:
    """(views to score with, views of the pairs): of the camera file beside the capture, or two rings around it."""
    for name in CAMERA_FILES:
        path = (scene if scene.is_dir() else scene.parent) / name
        if path.is_file():
            cameras = read_cameras(path)
            scored = cameras.select(slice(0, None, max(1, len(cameras) // MOST_SCORED)))
            return scored.resized(SCORING_SIDE), cameras
    extent, height = extent_of(cloud), SCORING_SIDE * 3 // 4

    def ring(count: int, distance: float, phase: float) -> Cameras:
        return orbit(extent, count, width=SCORING_SIDE, height=height, distance=distance, phase=phase)

    rings = [ring(RING, 1.5, 0.27), ring(RING, 2.4, 0.61)]
    in_turn = concatenate(rings).select([i for k in range(RING) for i in (k, RING + k)])
    return ring(MOST_SCORED, 2.0, 0.0), in_turn


def _pairs_of(scene: Path, recipe: Recipe, report: Report) -> str:
    """Make the pairs of a scene that are missing; returns its size in words."""
    cloud = registry.read(scene)
    for cut, folder in zip(recipe.cuts, recipe.folders((scene,)), strict=True):
        if (folder / INDEX).exists():
            continue
        make_pairs(folder.name, cloud, *views_of(scene, cloud), Compressor(cut), folder, recipe.pairs, report)
    return f"{len(cloud):,} Gaussians"


def _scores(out: Path) -> str:
    """The last row of the validation curve, Markdown; empty where there is none."""
    scores = last_scores(out)
    if not scores:
        return ""
    rows = "\n".join(f"| {name.removeprefix('gain_')} | {value:+.2f} |" for name, value in scores.items() if name.startswith("gain_"))
    heading = "Mean gain in dB on the validation scenes at full trust, middle of the frames."
    return f"## Results\n\n{heading}\n\n| keep ratio | gain |\n|---|---|\n{rows}"
