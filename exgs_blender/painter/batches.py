# SPDX-License-Identifier: GPL-3.0-or-later
"""Random crops of training pairs, changed at random. A step's batch follows from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..splats.gaussians import F32
from .masks import UNTOUCHED
from .pairs import U8, PairSet

TRIES = 4
LEAST_COVERAGE = 0.15
"""A crop with less mean alpha is drawn again, TRIES times: most of an empty background teaches nothing."""


@dataclass(frozen=True, eq=False)
class Batch:
    """degraded [B, 5, S, S] (premultiplied RGBA, nearness), truth [B, 4, S, S], keep [B]."""

    degraded: Tensor
    truth: Tensor
    keep: Tensor

    def to(self, device: torch.device) -> Batch:
        moved = (t.to(device, non_blocking=True) for t in (self.degraded, self.truth, self.keep))
        return Batch(*moved)


@dataclass(frozen=True)
class Sampling:
    """How batches are drawn."""

    batch: int
    crop: int
    seed: int


def draw(sets: Sequence[PairSet], sampling: Sampling, step: int) -> Batch:
    """The batch of one step; scenes are drawn with equal probability, so that large ones do not dominate."""
    rng = np.random.default_rng([sampling.seed, step])
    rows = [_sample(sets[int(rng.integers(len(sets)))], sampling, rng) for _ in range(sampling.batch)]
    degraded, truth = (np.stack([row[i] for row in rows]) for i in (0, 1))
    keep = np.array([row[2] for row in rows], np.float32)
    return Batch(*(torch.from_numpy(a) for a in (degraded, truth, keep)))


def prefetch(make: Callable[[int], Batch], first: int, stop: int, workers: int) -> Iterator[tuple[int, Batch]]:
    """(step, batch) in order; ``workers`` threads work ahead (0: none)."""
    if workers == 0:
        yield from ((step, make(step)) for step in range(first, stop))
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[Batch]] = []
        ahead = first
        for step in range(first, stop):
            while ahead < stop and len(waiting) < 2 * workers:
                waiting.append(pool.submit(make, ahead))
                ahead += 1
            yield step, waiting.pop(0).result()


def _sample(pairs: PairSet, sampling: Sampling, rng: np.random.Generator) -> tuple[F32, F32, float]:
    group = pairs.groups[int(rng.integers(len(pairs.groups)))]
    repaired = [ratio for ratio in pairs.ratios if ratio < UNTOUCHED]
    ratio = repaired[int(rng.integers(len(repaired)))]
    degraded, truth = _crop(group[ratio], group[1.0], sampling.crop, rng)
    source, target = _vary(degraded.astype(np.float32) / 255, truth[..., :4].astype(np.float32) / 255, rng)
    return source, target, pairs.kept[ratio]


def _crop(degraded: U8, truth: U8, size: int, rng: np.random.Generator) -> tuple[U8, U8]:
    """The same window of both, padded by repetition where the frame is smaller."""
    view = int(rng.integers(len(truth)))
    height, width = truth.shape[1:3]
    for _ in range(TRIES):
        top, left = (int(rng.integers(max(side - size, 0) + 1)) for side in (height, width))
        window = (view, slice(top, top + size), slice(left, left + size))
        if truth[window][..., 3].mean() >= LEAST_COVERAGE * 255:
            break
    pads = ((0, max(size - height, 0)), (0, max(size - width, 0)), (0, 0))
    return np.pad(degraded[window], pads, mode="edge"), np.pad(truth[window], pads, mode="edge")


def _vary(source: F32, target: F32, rng: np.random.Generator) -> tuple[F32, F32]:
    """Flips, quarter turns, channel order, exposure and channel gains, sometimes the negative: alike for both.

    Takes [S, S, 5] and [S, S, 4], returns [5, S, S] and [4, S, S]; colours stay premultiplied.
    """
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    order = rng.permutation(3)
    gain = np.exp2(rng.uniform(-1.0, 0.7) + rng.normal(0, 0.2, 3)).astype(np.float32)
    negative = rng.random() < 0.15

    def change(image: F32) -> F32:
        image = np.rot90(image[:, ::-1] if flip else image, turns)
        alpha = image[..., 3:4]
        rgb = np.minimum(image[..., :3][..., order] * gain, np.maximum(alpha, image[..., :3][..., order]))
        if negative:
            rgb = np.maximum(alpha - rgb, 0)
        return np.ascontiguousarray(np.concatenate([rgb, image[..., 3:]], axis=2).transpose(2, 0, 1))

    return change(source), change(target)
