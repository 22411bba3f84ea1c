# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model's folder says about its licence, and what follows for a painter built from it."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

NAMES = re.compile(r"(licen[cs]e|notice|copying|use_policy)", re.IGNORECASE)
FIELDS = ("license", "license_name", "license_link")
LONGEST = 200
DERIVED = (
    "What is built contains the base's weights: it is a derivative of them, under the same licence. "
    "Keep it to yourself unless that licence lets you share it, and then on its terms."
)


@dataclass(frozen=True)
class Licence:
    """Fields of the model card's front matter, and licence files, of a folder."""

    fields: dict[str, str]
    files: tuple[Path, ...]

    def notes(self) -> list[str]:
        """Lines for a person."""
        found = [f"{name}: {value}" for name, value in self.fields.items()]
        found += [f"{path.name}: {_first_line(path)}" for path in self.files]
        if not found:
            found = ["nothing found in the folder (no model card with a 'license' field, no LICENSE file): look it up where it came from"]
        return ["Licence of the base model:", *(f"  {line}" for line in found), DERIVED]

    def copy_to(self, folder: Path) -> None:
        """Put the licence files into a folder: many licences want to be passed on with what is derived."""
        for path in self.files:
            shutil.copyfile(path, folder / f"base-{path.name}")


def read_licence(folder: Path) -> Licence:
    """Look at README.md's front matter and at files whose names say licence, notice, copying or use policy."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and NAMES.search(path.stem))
    return Licence(_front_matter(folder / "README.md"), tuple(files))


def _front_matter(card: Path) -> dict[str, str]:
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    block = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    found = {}
    for line in block.group(1).splitlines() if block else ():
        name, _, value = line.partition(":")
        if name in FIELDS and value.strip():
            found[name] = _plain(value)
    return found


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = (_plain(line) for line in file)
        return next((line for line in lines if line), "(empty)")


def _plain(text: str) -> str:
    """One printable line: the folder's text goes to a terminal."""
    return "".join(c for c in text.strip() if c.isprintable()).strip("\"' ")[:LONGEST]
