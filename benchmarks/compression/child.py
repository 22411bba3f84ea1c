# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in a process of its own: ``python -m benchmarks.compression.child NAME '{"argument": ...}'`` prints JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from exgs_blender.formats import read, write
from exgs_blender.splats import Gaussians
from exgs_blender.splats.activation import opacity_from_logit
from exgs_blender.ugc.pipeline import encode_all
from exgs_blender.ugc.quantise import Steps, steps_for_quality
from exgs_blender.ugc.settings import steps_for

from .scenes import JUDGES

TOLERANCE = 0.03
MAX_TRIALS = 8
SEED = 7


def compress(source: str, target: str, ratio: float, method: str, cameras: str) -> dict[str, Any]:
    """The compressor as an artist starts it: all cameras of the file are scored, since it is told which judge."""
    from exgs_blender.worker.jobs import JOBS

    judges = str(Path(cameras).with_name(JUDGES)) if cameras else ""
    return JOBS["compress"](source, target, ratio=ratio, method=method, cameras=cameras, judges=judges)


def prune(source: str, target: str, ratio: float, by: str) -> dict[str, Any]:
    """Keep so many Gaussians, at random or those of the largest opacity x volume, that our coder fills the bytes."""
    cloud = read(source)
    order = pruning_order(cloud, by)
    data, kept = fill(lambda count: cloud.select(np.sort(order[:count])), len(cloud), int(cloud.ply_bytes / ratio), steps_for(ratio))
    Path(target).write_bytes(data)
    return {"kept": kept}


def code(source: str, target: str, ratio: float) -> dict[str, Any]:
    """Code a cloud with the steps that belong to a ratio."""
    cloud = read(source)
    Path(target).write_bytes(encode_all(cloud, steps_for(ratio)))
    return {"kept": len(cloud)}


def whole(source: str, target: str, quality: float) -> dict[str, Any]:
    """Code every Gaussian, with the steps of a quality from 0 to 3."""
    cloud = read(source)
    Path(target).write_bytes(encode_all(cloud, steps_for_quality(quality)))
    return {"kept": len(cloud)}


def keep(source: str, target: str, share: float, cameras: str) -> dict[str, Any]:
    """Our method down to a share of the Gaussians, re-fitted, written as a PLY: nothing is rounded."""
    from exgs_blender.cameras import read_cameras
    from exgs_blender.evaluate.held_out import FEWEST, filled_up, scoring_views, training_views
    from exgs_blender.render.scored_views import score_views
    from exgs_blender.splats.ellipsoids import ellipsoids_of, gaussians_from
    from exgs_blender.ugc.refit import RefitSettings, refit
    from exgs_blender.ugc.thinning import Merging

    cloud = read(source)
    views = training_views(cloud)
    if cameras:
        views = filled_up(cloud, scoring_views(read_cameras(cameras)), read_cameras(Path(cameras).with_name(JUDGES)), FEWEST)
    scored = score_views(cloud, [(views, 1.0)])
    merged = Merging(cloud, scored.statistics).reduced_to(round(share * len(cloud))).gaussians
    write(target, gaussians_from(refit(ellipsoids_of(merged), scored, RefitSettings())))
    return {"kept": len(merged)}


def decode(source: str) -> dict[str, Any]:
    """Read a file, once."""
    return {"kept": len(read(source))}


def warm(folder: str) -> dict[str, Any]:
    """Compile what is not compiled yet on a tiny cloud, so that no measured run pays for it."""
    rng = np.random.default_rng(SEED)
    count = 4000
    tiny = Gaussians(
        means=rng.normal(size=(count, 3)).astype(np.float32),
        quats=rng.normal(size=(count, 4)).astype(np.float32),
        scales=rng.normal(-3.5, 0.3, (count, 3)).astype(np.float32),
        opacities=rng.normal(size=count).astype(np.float32),
        sh0=rng.normal(size=(count, 1, 3)).astype(np.float32),
        shN=(0.1 * rng.normal(size=(count, 8, 3))).astype(np.float32),
    )
    path = Path(folder) / "tiny.ply"
    write(path, tiny)
    for method in ("merge", "exgs"):
        compress(str(path), str(path.with_suffix(".exgs")), 20.0, method, "")
    return {}


def pruning_order(cloud: Gaussians, by: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Indices [N], the first to keep first."""
    if by == "random":
        return np.random.default_rng(SEED).permutation(len(cloud))
    log_volume = cloud.scales.astype(np.float64).sum(axis=1)
    return np.argsort(-(np.log(np.maximum(opacity_from_logit(cloud.opacities), 1e-12)) + log_volume), kind="stable")


def fill(cloud_of: Callable[[int], Gaussians], available: int, budget: int, steps: Steps) -> tuple[bytes, int]:
    """The file of the count that comes within TOLERANCE below ``budget`` bytes, and that count."""
    count = min(available, max(budget // 10, 1))
    best = (b"", 0)
    for _ in range(MAX_TRIALS):
        data = encode_all(cloud_of(count), steps)
        if best[1] < count and len(data) <= budget:
            best = (data, count)
            if len(data) >= (1 - TOLERANCE) * budget or count == available:
                break
        count = min(max(int(count * 0.985 * budget / len(data)), 1), available)
    return best


JOBS: dict[str, Callable[..., dict[str, Any]]] = {f.__name__: f for f in (compress, prune, code, whole, keep, decode, warm)}

if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](**json.loads(sys.argv[2]))))
