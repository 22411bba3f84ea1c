# SPDX-License-Identifier: GPL-3.0-or-later
"""Vector quantisation of SH: k-means with tens of thousands of clusters in 9 to 45 dimensions, fast on a CPU.

One flat k-means compares every vector with every cluster. Here two levels do: a few hundred coarse cells, and k-means within each
cell with as many clusters as its error asks for; so a vector meets hundreds of clusters instead of 65,536. Then every vector is
compared with the clusters of the cells nearest to its own, which repairs the cells' borders. All distances are matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..progress import Report, silent
from ..splats.gaussians import F32

Index = NDArray[np.int64]

STAGE = "clustering SH"
COARSE_ROUNDS, FINE_ROUNDS, BORDER_ROUNDS = 6, 4, 1
COARSE_SAMPLES = 128
"""Vectors a coarse cell that the coarse level is fitted on."""
NEIGHBOURS = 3
"""Cells whose clusters a vector is compared with in the end."""
ERROR_POWER = 0.9
"""Clusters of a cell go with this power of its squared error: the optimum is D / (D + 2) in D dimensions (Panter and Dite 1951)."""
BLOCK = 1 << 22
"""Distances that are held at a time."""


def sh_palette(vectors: F32, entries: int, report: Report = silent) -> tuple[F32, Index]:
    """Clusters of vectors by squared distance, deterministic.

    Args:
        vectors: [N, D].
        entries: how many clusters at most.
        report: progress.

    Returns:
        (palette [K, D] with K <= entries, label of each vector [N]). Neighbours in the palette are similar.
    """
    if len(vectors) <= entries:
        return vectors.astype(np.float32), np.arange(len(vectors))
    rng = np.random.default_rng(0)
    cells = max(1, round(np.sqrt(entries) / 1.5))
    report(STAGE, 0.0)
    sample = vectors[rng.choice(len(vectors), min(len(vectors), cells * COARSE_SAMPLES), replace=False)]
    coarse = _in_similar_order(_lloyd(sample, sample[rng.choice(len(sample), cells, replace=False)], COARSE_ROUNDS))
    cell, distance = _nearest(vectors, coarse)
    report(STAGE, 0.15)
    members = _groups(cell, cells)
    error: NDArray[np.float64] = np.bincount(cell, distance, cells)  # type: ignore[assignment]
    counts = _share(entries, members, error)
    parts: list[F32] = []
    for index, rows in enumerate(members):
        inside = vectors[rows]
        start = inside[rng.choice(len(rows), counts[index], replace=False)] if counts[index] < len(rows) else inside
        parts.append(_in_similar_order(_lloyd(inside, start, FINE_ROUNDS if len(start) < len(rows) else 0)))
        report(STAGE, 0.15 + 0.45 * (index + 1) / cells)
    palette, labels = _repair_borders(vectors, coarse, parts, members, report)
    report(STAGE, 1.0)
    return palette, labels


def _distances(vectors: F32, centres: F32, squares: F32) -> F32:
    """Squared distances [n, k] less the vectors' own squares, which do not change what is nearest."""
    table: F32 = vectors @ (-2 * centres).T
    table += squares
    return table


def _nearest(vectors: F32, centres: F32) -> tuple[Index, F32]:
    """(index of the nearest centre [n], squared distance to it [n])."""
    labels = np.empty(len(vectors), np.int64)
    distance = np.empty(len(vectors), np.float32)
    squares = np.square(centres).sum(axis=1)
    step = max(1, BLOCK // len(centres))
    for start in range(0, len(vectors), step):
        piece = vectors[start : start + step]
        table = _distances(piece, centres, squares)
        best = table.argmin(axis=1)
        labels[start : start + step] = best
        distance[start : start + step] = table[np.arange(len(piece)), best] + np.square(piece).sum(axis=1)
    return labels, np.maximum(distance, 0)


def _means(vectors: F32, labels: Index, centres: F32) -> F32:
    """Centre of each cluster's vectors; an empty cluster keeps its own."""
    sums = np.empty(centres.shape)
    for column in range(centres.shape[1]):
        sums[:, column] = np.bincount(labels, vectors[:, column], len(centres))
    sizes = np.bincount(labels, minlength=len(centres))
    moved: F32 = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres).astype(np.float32)
    return moved


def _lloyd(vectors: F32, centres: F32, rounds: int) -> F32:
    """Lloyd's iterations; empty clusters move to the vectors that are worst off."""
    for _ in range(rounds):
        labels, distance = _nearest(vectors, centres)
        centres = _means(vectors, labels, centres)
        empty = np.flatnonzero(np.bincount(labels, minlength=len(centres)) == 0)
        if len(empty):
            centres[empty] = vectors[np.argsort(distance)[-len(empty) :]]
    return centres


def _groups(cell: Index, cells: int) -> list[Index]:
    """Row numbers of each cell."""
    order = np.argsort(cell, kind="stable")
    return np.split(order, np.cumsum(np.bincount(cell, minlength=cells))[:-1])


def _share(entries: int, members: list[Index], error: NDArray[np.float64]) -> Index:
    """How many clusters each cell gets: at least one, at most its vectors, all ``entries`` together where there is room."""
    room = np.array([len(rows) for rows in members])
    weight = np.maximum(error, 1e-30) ** ERROR_POWER * (room > 0)
    counts = np.minimum(room, 1)
    while (left := entries - counts.sum()) > 0 and (open_ := counts < room).any():
        share = weight * open_
        more = np.minimum(np.floor(left * share / share.sum()).astype(np.int64), room - counts)
        if not more.any():
            more = np.zeros_like(counts)
            more[np.argsort(-share)[: min(left, int(open_.sum()))]] = 1
        counts = counts + np.minimum(more, room - counts)
    return counts


def _in_similar_order(centres: F32) -> F32:
    """Sorted along the direction in which they differ most, so that the palette's image has smooth rows."""
    centred = centres - centres.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return centres[np.argsort(centred @ vectors[:, -1], kind="stable")]


def _cell_pieces(vectors: F32, rows: Index, width: int) -> Iterator[tuple[Index, F32]]:
    step = max(1, BLOCK // width)
    for start in range(0, len(rows), step):
        yield rows[start : start + step], vectors[rows[start : start + step]]


def _repair_borders(vectors: F32, coarse: F32, parts: list[F32], members: list[Index], report: Report) -> tuple[F32, Index]:
    """Assign every vector among the clusters of its cell and the nearest other ones, and move the clusters to their vectors."""
    palette = np.concatenate(parts)
    ends = np.cumsum([len(part) for part in parts])
    owned = [np.arange(end - len(part), end) for end, part in zip(ends, parts, strict=True)]
    near = np.argsort(_distances(coarse, coarse, np.square(coarse).sum(axis=1)), axis=1)[:, :NEIGHBOURS]
    labels = np.zeros(len(vectors), np.int64)
    for round_ in range(BORDER_ROUNDS + 1):
        for index, rows in enumerate(members):
            candidates = np.concatenate([owned[cell] for cell in near[index]])
            centres = palette[candidates]
            squares = np.square(centres).sum(axis=1)
            for some, piece in _cell_pieces(vectors, rows, len(candidates)):
                labels[some] = candidates[_distances(piece, centres, squares).argmin(axis=1)]
            report(STAGE, 0.6 + 0.4 * (round_ + (index + 1) / len(members)) / (BORDER_ROUNDS + 1))
        if round_ < BORDER_ROUNDS:
            palette = _means(vectors, labels, palette)
    return palette, labels
