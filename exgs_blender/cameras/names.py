# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of views, fit for files."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".exr", ".tif", ".tiff", ".webp")


def safe_name(name: str) -> str:
    """An image's name without folder and suffix, harmless as a file name on every system."""
    stem = Path(name.replace("\\", "/")).name
    for suffix in SUFFIXES:
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    cleaned = "".join(c if c.isalnum() or c in "-_." else "_" for c in stem).strip(".")
    return cleaned[:120] or "view"


def unique(names: list[str]) -> tuple[str, ...]:
    """Names that occur twice get their index, so that no output overwrites another."""
    counts = {name: names.count(name) for name in set(names)}
    return tuple(f"{name}_{i:04d}" if counts[name] > 1 else name for i, name in enumerate(names))
