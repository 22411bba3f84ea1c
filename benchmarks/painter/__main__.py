# SPDX-License-Identifier: GPL-3.0-or-later
"""What restoration does to frames of pruned scenes: quality by five measures, the worst frame, and how long a frame takes.

    python -m benchmarks.painter [--scenes biker snowmiku-trained] [--weights FOLDER] [--record] [--pictures FOLDER]

Each scene is cut to 10 %, 4 % and 1 % of its Gaussians, as the paper does (``exgs``: sampled, amplified) and as the product does
(``merge``: merged, re-fitted), rounded like a file, and rendered from views that neither scored it nor trained the painter; the
truth is the unpruned render. Prints a table and writes ``benchmarks/out/painter.json``; ``--record`` also writes
``benchmarks/results/painter.json`` and ``.md``. The scenes lie in ``EXGS_DATA`` (default ``../shared/data``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from exgs_blender.evaluate.flip import flip
from exgs_blender.evaluate.metrics import judged, psnr, ssim
from exgs_blender.evaluate.perceptual import haarpsi, ms_ssim
from exgs_blender.painter import Painter
from exgs_blender.painter.degrade import Compressor, Cut
from exgs_blender.painter.scene_fit import fit_scene
from exgs_blender.progress import silent
from exgs_blender.render.frame import Frame
from exgs_blender.render.rasterize import rasterize_all

from .methods import methods
from .options import options
from .report import save_strip, table, write
from .scenes import load, role
from .speed import device_name, speed

KEEP_RATIOS = (0.1, 0.04, 0.01)
CUTS: tuple[Cut, ...] = ("exgs", "merge")
MEASURES = {"psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim, "haarpsi": haarpsi, "flip": lambda a, b: float(flip(a, b).mean())}


@dataclass(frozen=True)
class Row:
    """One method on one cut of a scene: means over the views over black, and the worst view's gain in dB against unrestored."""

    scene: str
    role: str
    cut: str
    keep: float
    method: str
    views: int
    worst_gain: float
    scores: dict[str, float]


def measure(name: str, painter: Painter, pictures: Path | None) -> list[Row]:
    """All rows of a scene; those at keep ratio 1 show what happens to frames without faults."""
    scene, scoring, judging = load(name)
    truth = list(rasterize_all(scene, judging))
    rows = untouched(name, painter, truth)
    for cut in CUTS:
        prune = Compressor(cut)
        for keep in KEEP_RATIOS:
            cloud = prune(scene, scoring, keep, silent)
            fit = fit_scene(painter, scene, cloud, scoring, refitted=cut == "merge")
            frames = list(rasterize_all(cloud, judging))
            made = {label: [act(f) for f in frames] for label, act in methods(painter, keep, fit.guidance.text()).items()}
            rows += [compare(name, cut, keep, label, truth, frames, after) for label, after in made.items()]
            print(f"{name} {cut} {keep:g}: " + ", ".join(f"{r.method} {r.scores['psnr']:.2f}" for r in rows[-len(made) :]), flush=True)
            if pictures:
                for i in (0, len(frames) // 2):
                    strip = (frames[i], made["blind"][i], made["fitted"][i], truth[i])
                    save_strip(pictures / f"{name}-{cut}-{100 * keep:g}-{i}.png", strip)
    return rows


def untouched(name: str, painter: Painter, truth: list[Frame]) -> list[Row]:
    kept = [painter.restore(frame, 1.0) for frame in truth]
    return [compare(name, "none", 1.0, label, truth, truth, frames) for label, frames in (("unrestored", truth), ("blind", kept))]


def compare(name: str, cut: str, keep: float, method: str, truth: list[Frame], before: list[Frame], after: list[Frame]) -> Row:
    pairs = [(judged(a.rgb), judged(t.rgb)) for a, t in zip(after, truth, strict=True)]
    scores = {label: float(np.mean([score(a, t) for a, t in pairs])) for label, score in MEASURES.items()}
    gains = [psnr(a, t) - psnr(judged(b.rgb), t) for (a, t), b in zip(pairs, before, strict=True)]
    return Row(name, role(name), cut, keep, method, len(truth), min(gains), scores)


def main() -> None:
    args = options("benchmarks.painter", __doc__)
    painter = Painter.load(args.weights, args.device)
    rows = [asdict(row) for name in args.scenes for row in measure(name, painter, args.pictures)]
    result = {"rows": rows, "milliseconds": speed(painter), "device": device_name(painter), "checkpoint": painter.identity}
    text = table(result)
    print(text)
    write("painter", result, text, args.record)


if __name__ == "__main__":
    main()
