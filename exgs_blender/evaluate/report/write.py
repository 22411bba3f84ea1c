# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as files: one page that holds everything, and its numbers as JSON beside it."""

from __future__ import annotations

import json
from pathlib import Path

from ...atomic import atomic_path
from .measure import QualityReport
from .page import page_of


def report_beside(asset: Path) -> Path:
    """Where the page of an asset goes unless told otherwise: ``scene.exgs`` -> ``scene.exgs.report.html``."""
    return asset.with_name(asset.name + ".report.html")


def json_beside(page: Path) -> Path:
    """The JSON file of a page: the same name, suffix ``.json``."""
    return page.with_suffix(".json")


def write_report(report: QualityReport, page: Path, numbers: Path | None = None) -> tuple[Path, Path]:
    """Write the page and the JSON file (beside the page by default); returns both paths.

    Raises:
        FileError: a file cannot be written.
        MissingDependencyError: pillow is missing.
    """
    numbers = json_beside(page) if numbers is None else numbers
    write_numbers(report, numbers)
    text = page_of(report, numbers.name if numbers.parent == page.parent else "")
    with atomic_path(page) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return page, numbers


def write_numbers(report: QualityReport, numbers: Path) -> None:
    """Write the JSON file alone."""
    with atomic_path(numbers) as part:
        part.write_text(json.dumps(report.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8", newline="\n")
