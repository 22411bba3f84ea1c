# SPDX-License-Identifier: GPL-3.0-or-later
"""How points have moved since splats were made: affine maps found from where each was and where it is.

Programs that know points but not splats turn, scale and join positions alone. Kept beside each point, its old position tells which map
it went through, so that shapes and colours can follow. Maps are looked for in this order, and each point takes the one that fits it best:

1. the identity, where many points have not moved at all;
2. one map of all points;
3. runs of consecutive points (joining puts clouds one behind the other, deleting keeps the order), each also tried on all that is left;
4. maps of four points drawn at random, for parts that a sort has mixed;

first to the rounding of float32 numbers, then, for what is left, to a thousandth of its extent. What then follows no map and is most of
the cloud (a deformation) takes its common affine part if that explains it to 5 %; other points take the map of their neighbour in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .affine_fit import ROUNDING, AffineMap, extent, fit_affine, magnitude, snapped
from .gaussians import F32, Gaussians
from .transforms import transformed

F64 = NDArray[np.float64]
Rows = NDArray[np.intp]
Tolerance = Callable[[F64, F64], float]

ROUNDINGS = 64
"""So many of them, of the largest coordinate, are no movement: a matrix product makes four, edits follow each other."""
LOOSE = 1e-3
"""Share of the extent by which positions that were rounded badly (far from the origin, and back) may miss their map."""
DEFORMED = 0.05
"""Share of the extent that a deformation may add to one affine map, in the root mean square."""
WINDOW = 12
"""Points that a run must have at least: 36 equations for the 12 unknowns of an affine map."""
PATIENCE = 64
"""Windows in sequence that hold no run before runs are given up."""
DRAWS, DRAWN = 512, 2048
"""Random maps that are tried, on so many points."""
MIXED = 8
"""Maps that are looked for by drawing."""
CLEAR = 0.8
"""Share of the points within ten times the tolerance that must be within it; fewer hit a map by chance."""
SHARE = 0.05
"""Share of the points left that makes a map worth trying on all of them."""


@dataclass(frozen=True, eq=False)
class Motions:
    """Linear parts of the maps that points followed.

    Attributes:
        labels: [N] index into ``linears``.
        linears: [M, 3, 3]; the first is the identity.
    """

    labels: NDArray[np.int32]
    linears: F64

    @property
    def turns(self) -> bool:
        """Whether any point did more than shift."""
        return bool(self.labels.any())


def motions_between(rest: F32, now: F32) -> Motions:
    """The maps from old positions to new ones.

    Args:
        rest: [N, 3] where the points were. Exactly (0, 0, 0) where nobody noted it, which is what joining fills in; such points, and
            those of clouds with fewer than five points (four in a plane, three on a line), count as not turned.
        now: [N, 3] where they are.

    In directions that points do not span (a plane, a line) the map is completed: a plane's normal turns along without mirroring and
    stretches by the geometric mean of the other two; a line turns by the smallest angle and scales evenly.
    """
    if np.array_equal(rest.view(np.uint32), now.view(np.uint32)) or _only_shifted(rest, now):
        return Motions(np.zeros(len(rest), np.int32), np.eye(3)[None])
    search = _Search(rest.astype(np.float64), now.astype(np.float64))
    for tolerance in (_rounding, _loose):
        search.unmoved(tolerance)
        search.whole(tolerance)
        search.runs(tolerance)
        search.mixed(tolerance)
    search.deformed()
    return search.motions()


def _only_shifted(rest: F32, now: F32) -> bool:
    """Whether all points went the same way, to the rounding of their coordinates."""
    with np.errstate(invalid="ignore", over="ignore"):
        way = (now - rest).T
        allowed = ROUNDINGS * ROUNDING * max(float(abs(end)) for end in (rest.min(), rest.max(), now.min(), now.max()))
        return all(float(axis.max() - axis.min()) <= allowed for axis in way)


def follow(gaussians: Gaussians, motions: Motions) -> Gaussians:
    """Shapes and view-dependent colours turned as the points were; the positions, which have moved already, stay."""
    used = np.unique(motions.labels)
    if len(used) == 1:
        return replace(_by(gaussians, motions.linears[used[0]]), means=gaussians.means)
    order = np.argsort(motions.labels, kind="stable")
    ends = np.cumsum(np.bincount(motions.labels, minlength=len(motions.linears)))
    quats, scales, colours = gaussians.quats.copy(), gaussians.scales.copy(), gaussians.shN.copy()
    for label in used[used > 0]:
        rows = order[ends[label - 1] : ends[label]]
        turned = _by(gaussians.select(rows), motions.linears[label])
        quats[rows], scales[rows], colours[rows] = turned.quats, turned.scales, turned.shN
    return replace(gaussians, quats=quats, scales=scales, shN=colours)


def _by(gaussians: Gaussians, linear: F64) -> Gaussians:
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    return transformed(gaussians, matrix)


def _rounding(rest: F64, now: F64) -> float:
    return ROUNDINGS * ROUNDING * magnitude(rest, now)


def _loose(rest: F64, now: F64) -> float:
    return _rounding(rest, now) + LOOSE * extent(now)


class _Search:
    """Maps found so far, and for each point which of them fits best."""

    def __init__(self, rest: F64, now: F64) -> None:
        self.rest, self.now = rest, now
        self.maps: list[AffineMap] = []
        self.labels = np.full(len(rest), -1, np.int32)
        self.misses = np.full(len(rest), np.inf)
        """How far each point is from where its map puts it."""
        self.known = rest.any(axis=1) & np.isfinite(rest).all(axis=1) & np.isfinite(now).all(axis=1)

    def left(self) -> Rows:
        """Points that no map explains so far."""
        return np.flatnonzero((self.labels < 0) & self.known)

    def unmoved(self, tolerance: Tolerance) -> None:
        left = self.left()
        if len(left) >= WINDOW and (self.rest[left] == self.now[left]).all(axis=1).mean() >= SHARE:
            self._take(AffineMap(np.eye(3), np.zeros(3), np.zeros(3)), left, self._most(left, tolerance))

    def whole(self, tolerance: Tolerance) -> None:
        left = self.left()
        if len(left):
            fitted, directions = fit_affine(self.rest[left], self.now[left])
            limit = self._most(left, tolerance)
            if len(left) >= directions + 2 and directions and fitted.miss(self.rest[left], self.now[left]).max() <= limit:
                self._take(fitted, np.flatnonzero(self.labels < 0), limit)

    def runs(self, tolerance: Tolerance) -> None:
        """Runs of consecutive points, from the first point left to the last."""
        left, start, failures = self.left(), 0, 0
        while start + WINDOW <= len(left) and failures < PATIENCE:
            run = self._run(left, start, tolerance)
            if run is None:
                start, failures = start + WINDOW // 2, failures + 1
                continue
            fitted, end = run
            rows = left[start:end]
            self._take(fitted, np.arange(rows[0], rows[-1] + 1), self._most(rows, tolerance))
            start, failures = end, 0
            if self._everywhere(fitted, left[end:], tolerance):
                left, start = left[end:], 0
                left = left[self.labels[left] < 0]

    def mixed(self, tolerance: Tolerance) -> None:
        """Maps of random points, for what is in no order."""
        rng = np.random.default_rng(0)
        for _ in range(MIXED):
            left = self.left()
            if len(left) < 2 * WINDOW:
                return
            tried = left[rng.integers(0, len(left), min(len(left), DRAWN))]
            rest, now = self.rest[tried], self.now[tried]
            drawn = rng.integers(0, len(tried), (DRAWS, 4))
            maps = np.linalg.pinv(np.pad(rest[drawn], ((0, 0), (0, 0), (0, 1)), constant_values=1)) @ now[drawn]
            off = np.linalg.norm(rest @ maps[:, :3] + maps[:, 3:] - now, axis=2)
            best = maps[np.argmax((off <= 10 * self._most(tried, tolerance)).sum(axis=1))]
            if not self._everywhere(AffineMap(best[:3].T, np.zeros(3), best[3]), left, tolerance):
                return

    def deformed(self) -> None:
        """Take one affine part for a deformation of most of the cloud."""
        left = self.left()
        if 2 * len(left) <= self.known.sum() or len(left) < WINDOW:
            return
        fitted, _ = fit_affine(self.rest[left], self.now[left])
        misses = fitted.miss(self.rest[left], self.now[left])
        if np.sqrt(np.square(misses).mean()) <= DEFORMED * extent(self.now[left]):
            self._take(fitted, left, np.inf)

    def motions(self) -> Motions:
        """What was found; points that follow no map take that of the next one before them in order, else after them."""
        labels = self.labels
        loose = (labels < 0) & (self.known | ~np.isfinite(self.rest).all(axis=1) | ~np.isfinite(self.now).all(axis=1))
        if loose.any() and (labels >= 0).any():
            place = np.where(labels >= 0, np.arange(len(labels)), -1)
            place = np.maximum.accumulate(place)
            place[place < 0] = np.argmax(labels >= 0)
            labels = np.where(loose, labels[place], labels)
        linears = np.array([np.eye(3), *map(snapped, self.maps)])
        still = (linears == np.eye(3)).all(axis=(1, 2))
        renumbered = np.where(still, 0, np.arange(len(linears), dtype=np.int32))
        return Motions(renumbered[labels + 1].astype(np.int32), linears)

    def _most(self, rows: Rows, tolerance: Tolerance) -> float:
        return tolerance(self.rest[rows], self.now[rows])

    def _take(self, found: AffineMap, rows: Rows, limit: float) -> None:
        """Give a map the points that it explains better than theirs does."""
        misses = found.miss(self.rest[rows], self.now[rows])
        better = (misses <= limit) & (misses < self.misses[rows])
        self.misses[rows[better]] = misses[better]
        self.labels[rows[better]] = len(self.maps)
        self.maps.append(found)

    def _run(self, left: Rows, start: int, tolerance: Tolerance) -> tuple[AffineMap, int] | None:
        """The map of the points from ``start`` on, and where they end; None where the first dozen has none in common."""
        found, end, size = None, start, WINDOW
        while end < len(left):
            rows = left[start : start + size]
            fitted, directions = fit_affine(self.rest[rows], self.now[rows])
            limit = self._most(rows, tolerance)
            if not directions or fitted.miss(self.rest[rows], self.now[rows]).max() > limit:
                break
            found, end, size = fitted, start + len(rows), 2 * size
        if found is not None and end < len(left):
            rows = left[end : start + size]
            away = found.miss(self.rest[rows], self.now[rows]) > 4 * self._most(left[start:end], tolerance)
            end += int(np.argmax(away)) if away.any() else len(rows)
        return None if found is None else (found, end)

    def _everywhere(self, found: AffineMap, left: Rows, tolerance: Tolerance) -> bool:
        """Fit a map of some points again to all that it explains, and give it those; False where they are few."""
        if len(left) < WINDOW:
            return False
        some = left[:: max(len(left) // DRAWN, 1)]
        if (found.miss(self.rest[some], self.now[some]) <= 10 * self._most(some, tolerance)).mean() < SHARE:
            return False
        limit = self._most(left, tolerance)
        counts = []
        for factor in (10, 3, 1):
            rows = left[found.miss(self.rest[left], self.now[left]) <= factor * limit]
            if len(rows) < WINDOW:
                return False
            counts.append(len(rows))
            found, _ = fit_affine(self.rest[rows], self.now[rows])
        if counts[-1] < CLEAR * counts[0]:
            return False
        self._take(found, np.flatnonzero(self.labels < 0), limit)
        return True
