# SPDX-License-Identifier: GPL-3.0-or-later
"""One picture that shows what each stage does: rows are frames, columns are stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path

Image8 = NDArray[np.uint8]
MARGIN = 10
CAPTION = 34
INK, PAPER = (235, 235, 235), (24, 24, 26)


def write_contact_sheet(path: Path, title: str, columns: Sequence[str], rows: Sequence[Sequence[tuple[Image8, str]]]) -> None:
    """Write a PNG.

    Args:
        title: one line on top.
        columns: a heading per column.
        rows: per frame, (image [H, W, 3], caption) per column; all images of one size.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = rows[0][0][0].shape[:2]
    font, small = ImageFont.load_default(20), ImageFont.load_default(15)
    total = (MARGIN + len(columns) * (width + MARGIN), 2 * CAPTION + MARGIN + len(rows) * (height + CAPTION))
    sheet = Image.new("RGB", total, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 8), title, INK, font)
    for column, heading in enumerate(columns):
        x = MARGIN + column * (width + MARGIN)
        draw.text((x, CAPTION + 8), heading, INK, font)
        for row, cells in enumerate(rows):
            image, caption = cells[column]
            y = 2 * CAPTION + row * (height + CAPTION)
            sheet.paste(Image.fromarray(image), (x, y))
            draw.text((x, y + height + 6), caption, INK, small)
    with atomic_path(path) as part:
        sheet.save(part, "PNG")
