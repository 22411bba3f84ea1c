# SPDX-License-Identifier: GPL-3.0-or-later
"""Fits a restoration to one scene while its source is at hand: the coefficients of ``basis.maps`` for an .exgs file.

Every view's squared error is a quadratic form in the coefficients, so a few dozen small matrices hold all that matters. A
candidate is chosen by its gain on views that it was not fitted to, among those that harm none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cameras import Cameras, evenly_picked
from ..progress import Report, silent, track
from ..splats import Gaussians
from ..splats.gaussians import F32
from ..ugc.guidance import Guidance
from .basis import COUNT, PLAIN, stacked

if TYPE_CHECKING:
    from ..render.frame import Frame
    from .restore import Painter

F64 = NDArray[np.float64]
F16 = NDArray[np.float16]

VIEWS = 24
AGAIN_EVERY = 6
"""Every sixth view is looked at twice more, its middle LARGE_SCALE and all of it SMALL_SCALE times as large: the coefficients must serve
thumbnails and full HD (fitted without the small ones, frames of 192 pixels lost 0.4 dB)."""
LARGE_SCALE, SMALL_SCALE = 2.4, 0.4
STEP = 2
"""Every second pixel of every second row is measured: neighbours say much the same, and a view takes a third of the time."""
ALPHA_WEIGHT = 0.5
"""How much an error of alpha counts beside one of a colour."""
CAUTIONS = (0.0, 2.0, 6.0, 12.0)
"""How much more than the others the views count that gain least: weights are (error after / error before)^caution."""
SHARES = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
FOLDS = 4
HARM = -0.03
"""dB that a view may lose at most while it is left out; in the end all views are fitted to, and what lies between them fares better."""
LEAST_GAIN = 0.01
"""dB of mean gain below which a frame is better left alone."""
FLOOR = 1e-6
RIDGE = 1e-4
ROUNDS = 30


@dataclass(frozen=True, eq=False)
class Forms:
    """Squared errors of V views as forms in the coefficients c: c A c - 2 b c + e, means over pixels and channels.

    Attributes:
        A: [V, COUNT, COUNT].
        b: [V, COUNT].
        e: [V].
    """

    A: F64
    b: F64
    e: F64

    def select(self, views: NDArray[np.int64]) -> Forms:
        return Forms(self.A[views], self.b[views], self.e[views])

    def ratios(self, c: F64) -> F64:
        """[V] error with the coefficients over error without."""
        after = np.einsum("i,vij,j->v", c, self.A, c) - 2 * self.b @ c + self.e
        return np.asarray((np.maximum(after, 0) + FLOOR) / (self.e + FLOOR))

    def gains(self, c: F64) -> F64:
        """[V] dB."""
        return np.asarray(-10 * np.log10(self.ratios(c)))


@dataclass(frozen=True)
class SceneFit:
    """A fitted mix, and what it did to views that it was not fitted to: mean and worst dB."""

    guidance: Guidance
    mean: float
    worst: float


def fit_scene(
    painter: Painter,
    source: Gaussians,
    compressed: Gaussians,
    views: Cameras,
    refitted: bool,
    report: Report = silent,
    looks: Sequence[F16] | None = None,
) -> SceneFit:
    """Fit the restoration of a compressed cloud's frames to its source's.

    Args:
        views: those that matter, in the size that they are looked at.
        refitted: goes into the guidance.
        looks: what the source looks like from each of ``views``, where that is known: [H, W, 4], premultiplied, 0..1.

    Returns:
        guidance without a mix where nothing can be gained.
    """
    index = evenly_picked(len(views), VIEWS)
    picked = views.select(index)
    forms = measured(painter, source, compressed, picked, None if looks is None else [looks[i] for i in index], report)
    again = np.arange(len(picked))[::AGAIN_EVERY]
    found, mean, worst = fitted(forms, np.concatenate([np.arange(len(picked)), again, again]))
    if found is None:
        return SceneFit(Guidance(refitted), 0.0, 0.0)
    return SceneFit(Guidance(refitted, tuple(found.tolist()), painter.identity), mean, worst)


def measured(
    painter: Painter, source: Gaussians, compressed: Gaussians, views: Cameras, looks: Sequence[F16] | None, report: Report
) -> Forms:
    """The forms of all views, then of the large, then of the small ones; arguments as for :func:`fit_scene`."""
    keep = len(compressed) / max(len(source), 1)
    again = views.select(slice(0, None, AGAIN_EVERY))
    small = again.resized(max(round(SMALL_SCALE * int(np.max([again.widths, again.heights]))), 1))
    sizes = [views, middle_of(again, LARGE_SCALE), small]
    found = []
    for before, after in track(_pairs(source, compressed, sizes, looks), "fit restoration", report, total=sum(map(len, sizes))):
        found.append(_form(painter, before, after, keep))
    A, b, e = (np.stack(part) for part in zip(*found, strict=True))
    return Forms(A, b, e)


def middle_of(views: Cameras, scale: float) -> Cameras:
    """Images of the same size that show the middle of the views ``scale`` times as large."""
    Ks = views.Ks.copy()
    Ks[:, :2] *= scale
    Ks[:, 0, 2] -= 0.5 * (scale - 1) * views.widths
    Ks[:, 1, 2] -= 0.5 * (scale - 1) * views.heights
    return replace(views, Ks=Ks)


def _pairs(
    source: Gaussians, compressed: Gaussians, sizes: Sequence[Cameras], looks: Sequence[F16] | None
) -> Iterator[tuple[Frame, F16 | F32]]:
    """The compressed cloud's frames, and what they should look like; ``looks`` are those of the first size."""
    from ..render.prepared import prepare
    from ..render.rasterize import rasterize_all

    clouds = prepare(compressed), prepare(source)
    for i, views in enumerate(sizes):
        wanted = looks if looks is not None and i == 0 else (_look(frame) for frame in rasterize_all(clouds[1], views))
        yield from zip(rasterize_all(clouds[0], views), wanted, strict=True)


def _look(frame: Frame) -> F32:
    return np.concatenate([np.clip(frame.rgb, 0, 1), frame.alpha[..., None]], axis=2)


@torch.inference_mode()
def _form(painter: Painter, frame: Frame, look: F16 | F32, keep: float) -> tuple[F64, F64, F64]:
    """A, b, e of one view, of every STEP-th pixel each way."""
    rgba, nearness, change, support = painter.looked_at(frame, keep)
    some = slice(None), slice(None, None, STEP), slice(None, None, STEP)
    wanted = torch.from_numpy(look.transpose(2, 0, 1)[some].copy()).to(rgba)
    weight = torch.tensor([1.0, 1.0, 1.0, ALPHA_WEIGHT], device=rgba.device).view(4, 1, 1)
    rows = stacked(rgba, nearness, change, STEP)[:, 0].mul_(support[0][some] * weight).reshape(COUNT, -1)
    rest = ((wanted - rgba[0].clamp(0, 1)[some]) * weight).reshape(-1)
    pixels = rest.numel()
    return _f64(rows @ rows.T / pixels), _f64(rows @ rest / pixels), _f64(rest @ rest / pixels)


def fitted(forms: Forms, places: NDArray[np.int64]) -> tuple[F64 | None, float, float]:
    """(coefficients or None, mean and worst gain in dB on views that were not fitted to).

    Beside the fits, the denoiser's plain change is a candidate: with one number to choose it can be the safer one where views differ.

    Args:
        places: [V] views of one place are fitted to together or not at all.
    """
    best: tuple[float, float, float | None, float] | None = None
    for caution in (*CAUTIONS, None):
        folds = list(_folds(forms, places, caution))
        for share in SHARES if folds else ():
            gains = np.concatenate([left_out.gains(share * c) for left_out, c in folds])
            mean, worst = float(gains.mean()), float(gains.min())
            if worst >= HARM and mean >= LEAST_GAIN and (best is None or mean > best[0]):
                best = mean, worst, caution, share
    if best is None:
        return None, 0.0, 0.0
    mean, worst, caution, share = best
    return share * _candidate(forms, caution), mean, worst


def _candidate(forms: Forms, caution: float | None) -> F64:
    """[COUNT] what a caution fits to these views; the plain change for None."""
    return np.array(PLAIN) if caution is None else solved(forms, caution)


def _folds(forms: Forms, places: NDArray[np.int64], caution: float | None) -> Iterator[tuple[Forms, F64]]:
    """(views left out, what the others say)."""
    for fold in range(FOLDS):
        out = places % FOLDS == fold
        if out.any() and not out.all():
            yield forms.select(np.flatnonzero(out)), _candidate(forms.select(np.flatnonzero(~out)), caution)


def solved(forms: Forms, caution: float) -> F64:
    """[COUNT] the coefficients that minimise mean(ratio^caution) / caution, or mean(log(ratio)) for no caution.

    By repeated least squares: a view's weight is its error's derivative, ratio^caution / (error after).
    """
    c = np.zeros(forms.A.shape[1])
    for _ in range(ROUNDS):
        ratios = forms.ratios(c)
        weight = ratios**caution / ((forms.e + FLOOR) * ratios)
        A = np.einsum("v,vij->ij", weight, forms.A)
        A += np.diag(RIDGE * np.diag(A) + 1e-12)
        c = 0.5 * c + 0.5 * np.linalg.solve(A, weight @ forms.b)
    return np.asarray(c)


def _f64(values: Tensor) -> F64:
    return np.asarray(values.double().cpu().numpy())
