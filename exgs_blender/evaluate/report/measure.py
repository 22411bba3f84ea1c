# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that the report says, before it becomes a page."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...progress import Report, silent
from ...splats import Gaussians
from ...version import __version__
from ..compare import Comparison, compare_views, summarise
from ..flip import PIXELS_PER_DEGREE
from ..judging import Judges
from .pictures import HEAT_FULL, ViewPictures, pictures_of
from .words import headline, judged_how, verdict, warnings

FORMAT, VERSION = "exgs-quality-report", 1


@dataclass(frozen=True)
class Facts:
    """What is known of a compression besides the two clouds.

    Attributes:
        source, asset: the files' names.
        asset_bytes: of the compressed file.
        source_file_bytes: of the capture on disk, which may be compressed itself; 0 where not known.
        sections: bytes of each section of the asset; empty where it has none.
        attributes: bytes that each attribute takes of it; empty where not known.
        seconds: wall time by stage.
        settings: how it was made, plain values; ``ratio_wanted`` is compared with what came out.
    """

    source: str
    asset: str
    asset_bytes: int
    source_file_bytes: int = 0
    sections: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class QualityReport:
    """A measured compression.

    Attributes:
        headline: one sentence.
        comparison: the numbers.
        judges: the views that judged.
        facts: the rest that is known.
        warnings: sentences.
        window_flip: mean FLIP of the worst window of any view.
        shown: (title, pictures) of the worst, the median and the best view by PSNR.
    """

    headline: str
    comparison: Comparison
    judges: Judges
    facts: Facts
    warnings: tuple[str, ...]
    window_flip: float
    shown: tuple[tuple[str, ViewPictures], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values: all but the pictures."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "tool": f"ExGS {__version__}",
            "headline": self.headline,
            "verdict": verdict(self.comparison, self.window_flip).words,
            "warnings": list(self.warnings),
            **self.comparison.to_dict(),
            "window_flip": self.window_flip,
            "flip_pixels_per_degree": PIXELS_PER_DEGREE,
            "judged": {
                "kind": self.judges.kind,
                "how": judged_how(self.judges),
                "views": len(self.judges.cameras),
                "scored_views": self.judges.scored,
                "moved_aside": self.judges.moved,
                "picture_widths_to_nearest_scored_view": list(self.judges.nearest),
            },
            "shown": [{"title": title, "view": shown.score.name, "crops": [asdict(c) for c in shown.crops]} for title, shown in self.shown],
            "heat_map_full": HEAT_FULL,
            **{key: value for key, value in asdict(self.facts).items() if key != "asset_bytes"},
        }


def measure(original: Gaussians, candidate: Gaussians, judges: Judges, facts: Facts, report: Report = silent) -> QualityReport:
    """Compare two clouds on the judging views and say what came of it.

    One view is rendered at a time; of each view 7 bytes a pixel stay until the worst, median and best are known. The time that
    this takes is added to the facts as the stage "report".
    """
    start = time.perf_counter()
    kept, backend = [], "nothing"
    for pair in compare_views(original, candidate, judges.cameras, report):
        kept.append(pictures_of(pair))
        backend = pair.backend
    comparison = summarise([view.score for view in kept], original, candidate, facts.asset_bytes, backend)
    window_flip = max(view.crops[0].flip for view in kept)
    seconds = {**facts.seconds, "report": round(time.perf_counter() - start, 3)}
    return QualityReport(
        headline=headline(comparison, window_flip),
        comparison=comparison,
        judges=judges,
        facts=replace(facts, seconds=seconds),
        warnings=warnings(comparison, judges, float(facts.settings.get("ratio_wanted") or 0.0)),
        window_flip=window_flip,
        shown=_worst_median_best(kept),
    )


def _worst_median_best(views: list[ViewPictures]) -> tuple[tuple[str, ViewPictures], ...]:
    ranked = sorted(views, key=lambda view: view.score.psnr)
    if len(ranked) == 1:
        return (("The only view", ranked[0]),)
    ends = (("Worst view", ranked[0]), ("Best view", ranked[-1]))
    return ends if len(ranked) == 2 else (ends[0], ("Median view", ranked[(len(ranked) - 1) // 2]), ends[1])
