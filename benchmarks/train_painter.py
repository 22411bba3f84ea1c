# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkpoint of GaussPainter: pairs of the training scenes, training (resumable), export with the model card.

    python benchmarks/make_training_scenes.py MADE --count 8 --fit "..."     (a 3DGS trainer of your own)
    python benchmarks/train_painter.py pack PACK --made MADE                 (only for a GPU machine elsewhere, see gpu.py)
    python benchmarks/train_painter.py pairs WORK --made MADE
    python benchmarks/train_painter.py train WORK [--steps 8000] [--preset full --device cuda --time-limit 580]
    python benchmarks/train_painter.py export WORK OUT

Captures are read from ``EXGS_DATA`` (default ``../shared/data`` beside the repository). ``train`` goes on where it stopped.
Scenes are split here, once: what is held out appears in no other step than ``benchmarks/painter``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

from exgs_blender.cameras import Cameras, read_cameras
from exgs_blender.formats import registry
from exgs_blender.painter.degrade import Compressor, Cut
from exgs_blender.painter.export import Card, export
from exgs_blender.painter.pairs import PairSettings, make_pairs
from exgs_blender.painter.recipe import views_of
from exgs_blender.painter.train import TrainSettings, train
from exgs_blender.progress import Report
from exgs_blender.splats import Gaussians

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("EXGS_DATA", ROOT.parent / "shared" / "data"))
CAPTURES = {
    "playbot": ("playbot/1_0", "playbot, 250,000 Gaussians, by Stephane Agullo, CC-BY-4.0 (playcanvas/engine)"),
    "banana-trained": ("banana-trained", "bananas on a carpet, trained from photos of pierotofy/dataset_banana, MIT"),
    "caliterra-trained": (
        "caliterra-trained",
        "construction site from the air, trained from photos of OpenDroneMap/odm_data_caliterra, CC0",
    ),
    "guitar": ("guitar.compressed.ply", "guitar, playcanvas/engine, MIT repository"),
}
RATIOS = (0.2, 0.1, 0.04, 0.02, 0.01)
SIDES = (320, 480, 640)
"""Long sides of the pairs' images, pixels."""
VALIDATION = ("guitar", "made-05")
CUTS: tuple[Cut, ...] = ("exgs", "decimate")
"""How the pairs' scenes are pruned; not as the product does by default: what its re-fit leaves cannot be guessed (docs/painter.md)."""
HELD_OUT = (
    "biker, playcanvas/engine, MIT repository",
    "snowmiku, plush on a bed, noname0310/snowmiku2023plush-splat, MIT",
)
MADE = "procedural Blender scene of benchmarks/make_training_scenes.py, fitted to 40 Cycles views"


def load(name: str, made: Path) -> tuple[Gaussians, Cameras, Cameras]:
    """(scene, views to score with, views of the pairs)."""
    if name.startswith("made"):
        cameras = read_cameras(made / name / "transforms.json")
        return registry.read(capture_in(made / name)), cameras.select(slice(0, None, 2)).resized(400), cameras
    path = DATA / "scenes" / CAPTURES[name][0]
    if name.endswith("trained"):
        kept_back = set(read_cameras(path / "cameras_test.json").names)
        every = read_cameras(path / "cameras.json")
        cameras = every.select([i for i, view in enumerate(every.names) if view not in kept_back])
        scoring = cameras.select(slice(0, None, max(1, len(cameras) // 24))).resized(400)
        return registry.read(path / "point_cloud.ply"), scoring, cameras if len(cameras) < 40 else cameras.select(slice(1, None, 2))
    scene = registry.read(path)
    return scene, *views_of(path, scene)


def scene_names(work: Path) -> list[str]:
    return sorted({path.parent.name.rsplit("-", 1)[0] for path in (work / "pairs").glob("*/pairs.json")})


def settings_of(args: argparse.Namespace) -> TrainSettings:
    folders = sorted(path.parent for path in (args.work / "pairs").glob("*/pairs.json"))
    return TrainSettings(
        pairs=tuple(f for f in folders if f.name.rsplit("-", 1)[0] not in VALIDATION),
        validation=tuple(f for f in folders if f.name.rsplit("-", 1)[0] in VALIDATION),
        out=args.work / args.preset,
        preset=args.preset,
        steps=args.steps,
        batch=args.batch,
        crop=args.crop,
        learning_rate=args.learning_rate,
        device=args.device,
        time_limit=args.time_limit,
        workers=args.workers,
        checkpoint_every=200,
        validate_every=600,
    )


def bar(every: float = 0.01) -> Report:
    """Prints a line per percent."""
    last = {"stage": "", "fraction": -1.0}

    def listen(stage: str, fraction: float) -> None:
        if stage != last["stage"] or fraction >= float(last["fraction"]) + every:
            last.update(stage=stage, fraction=fraction)
            print(f"{stage}: {100 * fraction:.0f} %", flush=True)

    return listen


def capture_in(folder: Path) -> Path:
    """The scene in a folder that ``make_training_scenes.py`` or :func:`pack` filled."""
    return next(path for path in (folder / "point_cloud.ply", folder / "point_cloud.spz") if path.exists())


def made_names(made: Path) -> list[str]:
    return sorted({path.parent.name for path in made.glob("made-*/point_cloud.*") if path.suffix in (".ply", ".spz")})


def pack(made: Path, out: Path) -> None:
    """The made scenes without their images, as SPZ: about 1.5 MB each instead of 17."""
    for name in made_names(made):
        (out / name).mkdir(parents=True, exist_ok=True)
        registry.write(out / name / "point_cloud.spz", registry.read(capture_in(made / name)))
        shutil.copyfile(made / name / "transforms.json", out / name / "transforms.json")


def make_pairs_of(work: Path, made: Path, name: str) -> None:
    """The pairs of a scene that are missing, by every cut."""
    for method in CUTS:
        folder = work / "pairs" / f"{name}-{method}"
        if not (folder / "pairs.json").exists():
            make_pairs(folder.name, *load(name, made), Compressor(method), folder, PairSettings(RATIOS, SIDES), bar(0.25))


def ship(args: argparse.Namespace) -> None:
    describe = {name: CAPTURES[name][1] if name in CAPTURES else f"{name}, {MADE}" for name in scene_names(args.work)}
    card = Card(
        scenes=[text for name, text in describe.items() if name not in VALIDATION],
        validation=[text for name, text in describe.items() if name in VALIDATION],
        held_out=HELD_OUT,
        remarks=args.remark,
        table=args.table.read_text(encoding="utf-8").replace("# GaussPainter:", "## Results:", 1) if args.table else "",
    )
    trust = export(settings_of(args), args.out, card)
    print(json.dumps([vars(row) for row in trust], indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=("pack", "pairs", "train", "export"))
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=Path("model"))
    parser.add_argument("--made", type=Path, default=Path("made"))
    parser.add_argument("--preset", choices=("fast", "full"), default="fast")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1.2e-3)
    parser.add_argument("--time-limit", type=float, default=0.0, help="seconds after which to stop with a checkpoint")
    parser.add_argument("--workers", type=int, default=0, help="threads that draw batches ahead")
    parser.add_argument("--table", type=Path, help="results to put into the card, Markdown")
    parser.add_argument("--remark", action="append", default=[], help="a sentence for the card")
    args = parser.parse_args()
    if args.job == "pack":
        pack(args.made, args.work)
    elif args.job == "pairs":
        for name in (*CAPTURES, *made_names(args.made)):
            make_pairs_of(args.work, args.made, name)
    elif args.job == "train":
        print(train(settings_of(args), bar()))
    else:
        ship(args)


if __name__ == "__main__":
    main()
