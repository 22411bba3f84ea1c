# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether restored animations flicker: a short flight unrestored, restored frame by frame, and stabilised.

    python -m benchmarks.painter.temporal [--scenes biker snowmiku-trained] [--weights FOLDER] [--record] [--pictures FOLDER]

Each scene is pruned by both of the compressor's methods to 10 % and 4 % of its Gaussians; the truth is the unpruned render. Beside PSNR
stand two errors that a blurred video cannot win: the temporal-difference error, the mean of |(out_t - out_t-1) - (truth_t - truth_t-1)|,
and the warping-error gap, |E(out) - E(truth)| with E the mean of |out_t - out_t-1 carried over by the truth's depth| where that depth
fits. Where a pruned render is smoother than the truth, even flicker narrows that gap; so the last columns show how much the painter's
change itself flickers along the surfaces: E(out - unrestored), which is 0 for a change that sticks to them. Prints a table and writes
``benchmarks/out/painter_temporal.json``; ``--record`` also writes ``benchmarks/results/painter_temporal.json`` and ``.md``. Scenes as for
``python -m benchmarks.painter``.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from exgs_blender.cameras import Cameras, read_cameras
from exgs_blender.cameras.trajectories import extent_of, flight, turntable
from exgs_blender.evaluate.metrics import judged, psnr
from exgs_blender.painter import Painter, default_weights
from exgs_blender.painter.degrade import Compressor
from exgs_blender.painter.scene_fit import fit_scene
from exgs_blender.painter.temporal import DEPTH_TOLERANCE, WINDOW, change_of, is_cut, pixels_there, stabilised, warm_up
from exgs_blender.progress import silent
from exgs_blender.render.frame import Frame
from exgs_blender.render.rasterize import rasterize_all
from exgs_blender.splats import Gaussians

from .options import options
from .report import save_strip, write
from .scenes import DATA, FILES, HELD_OUT, load
from .speed import device_name

METHODS: tuple[Literal["exgs", "merge"], ...] = ("exgs", "merge")
KEEP_RATIOS = (0.1, 0.04)
FRAMES, WIDTH, HEIGHT = 24, 640, 360
DEGREES_A_FRAME = 1.5
FLIGHT_FRAMES = 240
"""Length of the whole flight along a capture's own views, of which the FRAMES in the middle are taken."""
COLUMNS = ("unrestored", "per frame", "temporal")


@dataclass(frozen=True)
class Row:
    """One scene, method and keep ratio; each list in the order of COLUMNS. Errors in 1 / 1000 of the colour range."""

    scene: str
    method: str
    keep: float
    psnr: list[float]
    difference_error: list[float]
    warping_gap: list[float]
    change_flicker: list[float]


def path_of(name: str, scene: Gaussians) -> Cameras:
    """A camera that goes on steadily."""
    if name in FILES:
        return turntable(extent_of(scene), FRAMES, width=WIDTH, height=HEIGHT, arc_degrees=FRAMES * DEGREES_A_FRAME)
    cameras = read_cameras(DATA / "scenes" / name / "cameras.json")
    first = (FLIGHT_FRAMES - FRAMES) // 2
    return flight(cameras, FLIGHT_FRAMES, width=WIDTH, height=HEIGHT).select(slice(first, first + FRAMES))


def all_stabilised(views: Cameras, frames: list[Frame], restored: list[Frame]) -> list[Frame]:
    changes = [change_of(views.select([i]), frame, made) for i, (frame, made) in enumerate(zip(frames, restored, strict=True))]
    return [stabilised(frames[i], restored[i], changes[i], changes[max(i - WINDOW, 0) : i][::-1]) for i in range(len(frames))]


def warping_errors(views: Cameras, truth: list[Frame], frames: list[Frame]) -> list[float]:
    """Mean |frame - frame before, carried over| of each frame but the first."""
    return [
        warping_error((views.select([i]), views.select([i - 1])), (truth[i], truth[i - 1]), (frames[i], frames[i - 1]))
        for i in range(1, len(truth))
    ]


def warping_error(views: tuple[Cameras, Cameras], truth: tuple[Frame, Frame], frames: tuple[Frame, Frame]) -> float:
    height, width = truth[0].alpha.shape
    v, u = np.mgrid[:height, :width] + 0.5
    turn, shift = pixels_there(*views)
    z = truth[0].depth.astype(np.float64)
    x, y, there = np.moveaxis(np.stack([u * z, v * z, z], axis=2) @ turn.T + shift, 2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = x / there - 0.5, y / there - 0.5
    inside = (truth[0].alpha > 0.5) & (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
    x, y, there = x[inside], y[inside], there[inside]
    left, top = x.astype(int), y.astype(int)
    near = truth[1].depth[np.rint(y).astype(int), np.rint(x).astype(int)]
    same = np.abs(near - there) <= DEPTH_TOLERANCE * there
    along, down = (x - left)[:, None], (y - top)[:, None]
    before, now = judged(frames[1].rgb), judged(frames[0].rgb)[inside]
    upper = before[top, left] * (1 - along) + before[top, left + 1] * along
    lower = before[top + 1, left] * (1 - along) + before[top + 1, left + 1] * along
    return float(np.abs(now - upper * (1 - down) - lower * down)[same].mean())


def difference_error(truth: list[Frame], frames: list[Frame]) -> float:
    wrong = [judged(frame.rgb) - judged(t.rgb) for frame, t in zip(frames, truth, strict=True)]
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(wrong)]))


def changes_as_frames(frames: list[Frame], restored: list[Frame]) -> list[Frame]:
    """What was changed, around a middle grey."""
    return [replace(made, rgb=0.5 + made.rgb - frame.rgb) for frame, made in zip(frames, restored, strict=True)]


def compare(name: str, method: str, keep: float, views: Cameras, truth: list[Frame], made: list[list[Frame]]) -> Row:
    gap = np.array(warping_errors(views, truth, truth)).mean()
    return Row(
        scene=name,
        method=method,
        keep=keep,
        psnr=[float(np.mean([psnr(judged(f.rgb), judged(t.rgb)) for f, t in zip(frames, truth, strict=True)])) for frames in made],
        difference_error=[1000 * difference_error(truth, frames) for frames in made],
        warping_gap=[1000 * abs(float(np.mean(warping_errors(views, truth, frames)) - gap)) for frames in made],
        change_flicker=[1000 * float(np.mean(warping_errors(views, truth, changes_as_frames(made[0], frames)))) for frames in made],
    )


def measure(name: str, painter: Painter, pictures: Path | None) -> list[Row]:
    scene, scoring, _ = load(name)
    views = path_of(name, scene)
    truth = list(rasterize_all(scene, views))
    rows = []
    for method in METHODS:
        prune = Compressor(method)
        for keep in KEEP_RATIOS:
            cloud = prune(scene, scoring, keep, silent)
            guidance = fit_scene(painter, scene, cloud, scoring, refitted=method == "merge").guidance.text()
            frames = list(rasterize_all(cloud, views))
            restored = [painter.restore(frame, keep, guidance=guidance) for frame in frames]
            steady = all_stabilised(views, frames, restored)
            rows.append(compare(name, method, keep, views, truth, [frames, restored, steady]))
            if pictures:
                middle = FRAMES // 2
                save_strip(
                    pictures / f"{name}-{method}-{100 * keep:g}.png", (frames[middle], restored[middle], steady[middle], truth[middle])
                )
            print(line(rows[-1]), flush=True)
    return rows


def speed() -> float:
    """CPU-milliseconds that stabilising a 1920 x 1080 frame takes on one thread with a full window, the least of three."""
    rng = np.random.default_rng(0)
    one = Gaussians(*(np.zeros(shape, np.float32) for shape in ((1, 3), (1, 4), (1, 3), (1,), (1, 1, 3), (1, 0, 3))))
    views = turntable(extent_of(one), 360, width=1920, height=1080)
    depth = np.full((1080, 1920), 2.2 * extent_of(one).radius, np.float32)
    frame = Frame(rng.random((1080, 1920, 3), np.float32), np.ones_like(depth), depth, backend=None)  # type: ignore[arg-type]
    made = [Frame(frame.rgb + rng.normal(0, 0.02, frame.rgb.shape).astype(np.float32), frame.alpha, depth, frame.backend) for _ in range(2)]
    changes = [change_of(views.select([i]), frame, made[i % 2]) for i in range(WINDOW + 1)]
    assert not any(is_cut(changes[0], change) for change in changes[1:])
    times = []
    for _ in range(4):
        start = time.process_time()
        stabilised(frame, made[0], changes[0], changes[1:], threads=1)
        times.append(1000 * (time.process_time() - start))
    return min(times[1:])


def line(row: Row) -> str:
    tag = "held out" if row.scene in HELD_OUT else "seen"
    numbers = [f"{value:.3f}" for values in (row.psnr, row.difference_error, row.warping_gap, row.change_flicker) for value in values]
    return f"| {row.scene} ({tag}) | {row.method} | {100 * row.keep:g} % | {' | '.join(numbers)} |"


HEADER = "\n".join(
    (
        "| scene | method | keep | " + " | ".join(f"{what}, {of}" for what in ("PSNR", "TDE", "WEG", "CF") for of in COLUMNS) + " |",
        "|" + "---|" * (3 + 4 * len(COLUMNS)),
    )
)


def page(rows: list[Row], milliseconds: float, device: str, weights: str) -> str:
    head = f"""# GaussPainter: flicker of restored animations

Made by `python -m benchmarks.painter.temporal --record`, weights: {weights}. {FRAMES} frames of {WIDTH} x {HEIGHT}; means over the frames.
PSNR in dB against the unpruned render, over black. TDE: temporal-difference error, WEG: warping-error gap to the truth, both in
thousandths of the colour range; a blurred video wins neither, but where the render is smoother than the truth, flicker narrows WEG. CF: how
much the painter's change flickers along the surfaces, likewise. "Temporal" is what animations get by default.
Restored on {device}.

"""
    return (
        head + "\n".join([HEADER, *(line(row) for row in rows)]) + f"\n\nStabilising takes {milliseconds:.0f} CPU-ms a 1920 x 1080 frame.\n"
    )


def main() -> None:
    args = options("benchmarks.painter.temporal", __doc__)
    painter = Painter.load(args.weights, args.device)
    warm_up()
    print(HEADER)
    rows = [row for name in args.scenes for row in measure(name, painter, args.pictures)]
    milliseconds, device = speed(), device_name(painter)
    weights = "those of the package" if args.weights == default_weights() else f"`{args.weights.name}`"
    result = {"rows": [asdict(row) for row in rows], "milliseconds": milliseconds, "device": device, "weights": weights}
    print(f"stabilising: {milliseconds:.0f} CPU-ms a 1920 x 1080 frame")
    write("painter_temporal", result, page(rows, milliseconds, device, weights), args.record)


if __name__ == "__main__":
    main()
