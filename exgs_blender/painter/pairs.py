# SPDX-License-Identifier: GPL-3.0-or-later
"""Training pairs: the same views of a scene rendered before and after pruning, cached as memory-mapped arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..cameras import Cameras
from ..errors import FileError
from ..progress import Report, silent, track
from ..splats import Gaussians
from ..splats.gaussians import F32

U8 = NDArray[np.uint8]
Degrade = Callable[[Gaussians, Cameras, float, Report], Gaussians]
"""(scene, views to score with, keep ratio, report) -> the pruned scene."""

KEEP_RATIOS = (0.5, 0.2, 0.1, 0.04, 0.02, 0.01)
INDEX = "pairs.json"
CHANNELS = 5
"""Premultiplied RGBA and nearness (``masks.nearness_from_depth``), 8 bits each."""


@dataclass(frozen=True)
class PairSettings:
    """Which pairs to make of one scene.

    Attributes:
        ratios: keep ratios below 1; the unpruned render always belongs to the set.
        long_sides: image sizes in pixels; the views take turns, so that blur occurs at several widths.
    """

    ratios: tuple[float, ...] = KEEP_RATIOS
    long_sides: tuple[int, ...] = (256, 400, 640)


def make_pairs(
    name: str,
    scene: Gaussians,
    score_views: Cameras,
    pair_views: Cameras,
    degrade: Degrade,
    folder: Path,
    settings: PairSettings | None = None,
    report: Report = silent,
) -> None:
    """Render ``pair_views`` of the scene at every keep ratio and write them to ``folder``.

    The folder holds one array ``size<i>_<ratio>.npy`` [V, H, W, 5] uint8 per image size and ratio, and ``pairs.json``, which
    is written last: a folder without it is unfinished.
    """
    settings = settings or PairSettings()
    folder.mkdir(parents=True, exist_ok=True)
    groups = [pair_views.select(slice(i, None, len(settings.long_sides))).resized(s) for i, s in enumerate(settings.long_sides)]
    groups = [group for group in groups if len(group)]
    index: dict[str, Any] = {"name": name, "gaussians": len(scene), "groups": []}
    kept = {}
    for ratio in (1.0, *settings.ratios):
        cloud = scene if ratio == 1.0 else degrade(scene, score_views, ratio, report)
        kept[f"{ratio:g}"] = len(cloud) / max(len(scene), 1)
        for i, views in enumerate(groups):
            _render_group(cloud, views, folder / f"size{i}_{ratio:g}.npy", f"{name} at {100 * ratio:g} %", report)
    index["groups"] = [f"size{i}" for i in range(len(groups))]
    index["kept"] = kept
    with atomic_path(folder / INDEX) as part:
        part.write_text(json.dumps(index, indent=1), encoding="utf-8")


def _render_group(cloud: Gaussians, views: Cameras, path: Path, stage: str, report: Report) -> None:
    """Render views of one size into ``path`` [V, H, W, 5] uint8."""
    from ..render.rasterize import rasterize_all

    sizes = list(zip(views.heights.tolist(), views.widths.tolist(), strict=True))
    height, width = min(s[0] for s in sizes), min(s[1] for s in sizes)
    with atomic_path(path) as part:
        array = open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(views), height, width, CHANNELS))  # type: ignore[no-untyped-call]
        for i, frame in enumerate(track(rasterize_all(cloud, views), stage, report, total=len(views))):
            array[i] = encode(frame.rgb, frame.alpha, frame.depth)[:height, :width]
        array.flush()
        del array


def encode(rgb: F32, alpha: F32, depth: F32) -> U8:
    """A frame as stored: [H, W, 5], RGBA clipped to 0..1 and nearness, in 1/255."""
    import torch

    from .masks import nearness_from_depth

    near = nearness_from_depth(torch.from_numpy(depth)[None, None], torch.from_numpy(alpha)[None, None])[0, 0].numpy()
    planes = np.concatenate([rgb, alpha[..., None], near[..., None]], axis=2)
    return np.asarray(np.rint(np.clip(planes, 0, 1) * 255), np.uint8)


@dataclass(frozen=True, eq=False)
class PairSet:
    """The pairs of one scene.

    Attributes:
        name: the scene's.
        ratios: nominal keep ratios below 1, as in the folder.
        kept: nominal ratio (1.0 included) -> share of the Gaussians really kept, which is what the painter is told.
        groups: per image size, nominal ratio -> [V, H, W, 5] uint8, memory-mapped; 1.0 is the truth.
    """

    name: str
    ratios: tuple[float, ...]
    kept: dict[float, float]
    groups: tuple[dict[float, U8], ...]


def open_pairs(folder: Path) -> PairSet:
    """Open what :func:`make_pairs` wrote.

    Raises:
        FileError: the folder is no finished set of pairs.
    """
    hint = "Make the pairs again"
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        kept = {float(k): float(v) for k, v in index["kept"].items()}
        groups = tuple({r: np.load(folder / f"{g}_{r:g}.npy", mmap_mode="r") for r in kept} for g in index["groups"])
        name = str(index["name"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(folder, f"no finished set of training pairs ({error})", hint) from error
    for group in groups:
        if any(a.shape != group[1.0].shape or a.shape[-1] != CHANNELS or a.dtype != np.uint8 for a in group.values()):
            raise FileError(folder, f"arrays of one size must be uint8 [V, H, W, {CHANNELS}] of one shape", hint)
    return PairSet(name, tuple(sorted(r for r in kept if r < 1)), kept, groups)
