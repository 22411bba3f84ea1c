# SPDX-License-Identifier: GPL-3.0-or-later
"""The formats as a Markdown table, from what each declares: ``python -m exgs_blender.formats.table`` writes it into a README."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..atomic import atomic_path
from ..errors import FileError
from .registry import Format, formats

BEGIN = "<!-- formats: made by `python -m exgs_blender.formats.table README.md` -->"
END = "<!-- end of formats -->"


def _row(kind: Format) -> str:
    suffixes = ", ".join(f"`{suffix}`" for suffix in (*kind.suffixes, *kind.read_suffixes))
    written = ", ".join(f"`{suffix}`" for suffix in kind.suffixes) if kind.write else ""
    return f"| {kind.title}: {suffixes} | {kind.variants or 'yes'} | {written} | {kind.max_sh_degree} | {kind.conventions} |"


def markdown_table() -> str:
    """One row a format, in alphabetical order."""
    head = ["| format | read | written | SH up to | in the file |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(_row(kind) for kind in sorted(formats(), key=lambda kind: kind.title.lower()))])


def with_table(path: Path, text: str) -> str:
    """The text with its table made anew.

    Raises:
        FileError: the marks around the table are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise FileError(path, "has no marks around a table of formats", f"Put them in: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{markdown_table()}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readme", type=Path)
    path = parser.parse_args().readme
    text = with_table(path, path.read_text(encoding="utf-8"))
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
