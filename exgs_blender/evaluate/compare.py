# SPDX-License-Identifier: GPL-3.0-or-later
"""A candidate cloud against its source, on views that nobody scored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..cameras import Cameras
from ..progress import Report, silent, track
from ..render.rasterize import rasterize_all
from ..splats import Gaussians
from ..splats.gaussians import F32
from .flip import flip
from .metrics import judged, psnr, ssim

COVERED = 0.5
"""Opacity above which a pixel counts as covered by the source."""


@dataclass(frozen=True)
class ViewScore:
    """One view.

    Attributes:
        name: the camera's.
        psnr: dB.
        ssim: 1 is equal.
        flip: mean FLIP, 0 is no visible difference.
        covered: share of the pixels where the source is more opaque than not; the rest is black in both pictures.
        lost: share of the pixels that the source covers and the candidate does not: holes.
    """

    name: str
    psnr: float
    ssim: float
    flip: float
    covered: float
    lost: float


@dataclass(frozen=True)
class Comparison:
    """Per-view scores and their means.

    Attributes:
        views: in the order of the cameras.
        psnr, ssim, flip: means over the views.
        worst_psnr, worst_flip: of the worst view by each.
        source_bytes: the source as an INRIA-style PLY (``Gaussians.ply_bytes``).
        candidate_bytes: the compressed file where known, else the candidate as a PLY.
        ratio: the one over the other.
        source_count, candidate_count: numbers of Gaussians.
        backend: what rendered.
    """

    views: tuple[ViewScore, ...]
    psnr: float
    ssim: float
    flip: float
    worst_psnr: float
    worst_flip: float
    source_bytes: int
    candidate_bytes: int
    ratio: float
    source_count: int
    candidate_count: int
    backend: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def to_json(self) -> str:
        """Indented JSON text."""
        return json.dumps(self.to_dict(), indent=1)

    def table(self) -> str:
        """A printed table, one line a view, then the means and the sizes."""
        width = max([len(view.name) for view in self.views] + [len("mean")])
        lines = [f"{'view':<{width}}  PSNR dB    SSIM    FLIP"]
        lines += [f"{view.name:<{width}}  {view.psnr:7.2f}  {view.ssim:6.4f}  {view.flip:6.4f}" for view in self.views]
        lines.append(f"{'mean':<{width}}  {self.psnr:7.2f}  {self.ssim:6.4f}  {self.flip:6.4f}   (worst {self.worst_psnr:.2f} dB)")
        lines.append(
            f"{self.source_count:,} -> {self.candidate_count:,} Gaussians; "
            f"{self.source_bytes:,} -> {self.candidate_bytes:,} bytes ({self.ratio:.1f}x); rendered by {self.backend}"
        )
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class ViewPair:
    """One view of both clouds as it was compared: over black, sRGB-encoded, in 0..1.

    Attributes:
        score: the numbers.
        image, reference: [H, W, 3] of the candidate and of the source.
        difference: [H, W] FLIP map, 0..1.
        backend: what rendered.
    """

    score: ViewScore
    image: F32
    reference: F32
    difference: F32
    backend: str


def compare_views(original: Gaussians, candidate: Gaussians, cameras: Cameras, report: Report = silent) -> Iterator[ViewPair]:
    """Render both clouds from every camera, one view at a time, and score each."""
    frames = zip(cameras.names, rasterize_all(candidate, cameras), rasterize_all(original, cameras), strict=True)
    for name, frame, truth in track(frames, "compare", report, len(cameras)):
        image, reference = judged(frame.rgb), judged(truth.rgb)
        difference = flip(image, reference)
        solid = truth.alpha > COVERED
        score = ViewScore(
            name=name,
            psnr=psnr(image, reference),
            ssim=ssim(image, reference),
            flip=float(difference.mean(dtype=np.float64)),
            covered=float(solid.mean()),
            lost=float((solid & (frame.alpha <= COVERED)).mean()),
        )
        yield ViewPair(score, image, reference, difference, frame.backend.name)


def compare(
    original: Gaussians, candidate: Gaussians, cameras: Cameras, report: Report = silent, *, candidate_bytes: int | None = None
) -> Comparison:
    """Render both clouds from every camera and compare, over black and clipped to 0..1.

    Args:
        candidate_bytes: size of the candidate's file; its PLY size by default.
    """
    scores, backend = [], "nothing"
    for pair in compare_views(original, candidate, cameras, report):
        scores.append(pair.score)
        backend = pair.backend
    return summarise(scores, original, candidate, candidate_bytes, backend)


def summarise(
    scores: Sequence[ViewScore], original: Gaussians, candidate: Gaussians, candidate_bytes: int | None, backend: str
) -> Comparison:
    """Means and worst of the views, and the sizes."""
    size = candidate_bytes if candidate_bytes is not None else candidate.ply_bytes
    return Comparison(
        views=tuple(scores),
        psnr=float(np.mean([s.psnr for s in scores])),
        ssim=float(np.mean([s.ssim for s in scores])),
        flip=float(np.mean([s.flip for s in scores])),
        worst_psnr=min(s.psnr for s in scores),
        worst_flip=max(s.flip for s in scores),
        source_bytes=original.ply_bytes,
        candidate_bytes=size,
        ratio=original.ply_bytes / max(size, 1),
        source_count=len(original),
        candidate_count=len(candidate),
        backend=backend,
    )
