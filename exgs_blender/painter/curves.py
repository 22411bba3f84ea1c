# SPDX-License-Identifier: GPL-3.0-or-later
"""Learning curves as two CSV files that go on where an interrupted run stopped."""

from __future__ import annotations

import csv
from pathlib import Path

from ..atomic import atomic_path

Row = dict[str, float]


class Curves:
    """``curves.csv``: mean loss terms between checkpoints; ``validation.csv``: PSNR before and after per keep ratio.

    Rows beyond the step that the run goes on from are dropped.
    """

    def __init__(self, folder: Path, done: int) -> None:
        self.folder = folder
        self.pending: list[Row] = []
        self.losses = _read(folder / "curves.csv", done)
        self.scores = _read(folder / "validation.csv", done)

    def add(self, terms: Row) -> None:
        """Remember one step."""
        self.pending.append(terms)

    def validation(self, step: int, scores: Row) -> None:
        """Remember one validation."""
        self.scores.append({"step": step, **scores})

    def write(self, step: int) -> None:
        """Write both files."""
        if self.pending:
            means = {name: sum(row[name] for row in self.pending) / len(self.pending) for name in self.pending[0]}
            self.losses.append({"step": step, **means})
            self.pending = []
        for name, rows in (("curves.csv", self.losses), ("validation.csv", self.scores)):
            if rows:
                with atomic_path(self.folder / name) as part, part.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, fieldnames=list(rows[-1]), restval="", extrasaction="ignore")
                    writer.writeheader()
                    writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in rows)


def last_scores(folder: Path) -> Row:
    """The last validation of a run; empty before the first."""
    rows = _read(folder / "validation.csv", 1 << 62)
    return rows[-1] if rows else {}


def _read(path: Path, done: int) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    return [row for row in rows if row["step"] <= done]
