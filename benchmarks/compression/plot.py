# SPDX-License-Identifier: GPL-3.0-or-later
"""The rate-distortion plot as SVG: a panel per scene, bytes (logarithmic) against PSNR, a line or a point per method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .methods import METHODS
from .rows import Row

WIDTH, HEIGHT = 560, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 34, 46
COLUMNS = 2
PSNR_MAX = 60.0
"""What is closer than this differs by less than the rounding to 8 bits (58.9 dB) and is not drawn."""
LEGEND_ROW = 20
STYLES = {
    "ours": ("#0072b2", "circle"),
    "paper": ("#e69f00", "square"),
    "geometric": ("#009e73", "triangle"),
    "volume": ("#cc79a7", "diamond"),
    "random": ("#777777", "cross"),
    "whole": ("#56b4e9", "circle"),
    "compressed-ply": ("#8c564b", "square"),
    "spz": ("#d55e00", "diamond"),
    "sog": ("#7a5195", "triangle"),
    "sog-no-sh": ("#7a5195", "cross"),
}
"""Colours that stay apart for colour-blind eyes, and marks that stay apart without colour."""


@dataclass(frozen=True)
class Axes:
    """Where a panel stands and what it spans: x is log10 of bytes, y is dB."""

    x: float
    y: float
    low: tuple[float, float]
    high: tuple[float, float]

    def place(self, size: float, psnr: float) -> tuple[float, float]:
        across = (math.log10(size) - self.low[0]) / (self.high[0] - self.low[0])
        up = (psnr - self.low[1]) / (self.high[1] - self.low[1])
        return self.x + LEFT + across * (WIDTH - LEFT - RIGHT), self.y + HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def rate_distortion_svg(scenes: Sequence[str], rows: Sequence[Row]) -> str:
    """The whole picture; clouds that are not coded (without a place in STYLES) and what passes PSNR_MAX are left out."""
    drawn = [row for row in rows if row.method in STYLES and not row.note and row.psnr <= PSNR_MAX]
    used = [name for name in STYLES if any(row.method == name for row in drawn)]
    across = min(COLUMNS, max(len(scenes), 1))
    panels_high = HEIGHT * math.ceil(len(scenes) / across)
    legend_columns = 2 * across
    total = (WIDTH * across, panels_high + LEGEND_ROW * (math.ceil(len(used) / legend_columns) + 1))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" width="{total[0]}" height="{total[1]}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{total[0]}" height="{total[1]}" fill="#fff"/>',
    ]
    for number, scene in enumerate(scenes):
        parts += _panel(scene, [row for row in drawn if row.scene == scene], number % across * WIDTH, number // across * HEIGHT)
    for number, name in enumerate(used):
        x, y = 24 + number % legend_columns * (total[0] - 24) / legend_columns, panels_high + LEGEND_ROW * (1 + number // legend_columns)
        parts += [_mark(name, x, y - 4), f'<text x="{x + 12:.1f}" y="{y:.1f}">{escape(METHODS[name].title)}</text>']
    return "\n".join([*parts, "</svg>"])


def _panel(scene: str, rows: Sequence[Row], x: float, y: float) -> list[str]:
    parts = [f'<text x="{x + LEFT}" y="{y + 22}" font-size="15" font-weight="bold">{escape(scene)}</text>']
    if not rows:
        return parts
    axes = _axes(rows, x, y)
    parts += _grid(axes)
    for name in STYLES:
        points = sorted(axes.place(row.bytes, row.psnr) for row in rows if row.method == name)
        if len(points) > 1:
            line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{STYLES[name][0]}" stroke-width="1.8"/>')
        parts += [_mark(name, px, py) for px, py in points]
    return parts


def _axes(rows: Sequence[Row], x: float, y: float) -> Axes:
    """A span that holds every point, with whole steps of the dB grid at both ends."""
    sizes, quality = [math.log10(row.bytes) for row in rows], [row.psnr for row in rows]
    step = _psnr_step(max(quality) - min(quality))
    low, high = step * math.floor(min(quality) / step), step * math.ceil(max(quality) / step)
    return Axes(x, y, (min(sizes) - 0.08, low), (max(sizes) + 0.08, max(high, low + step)))


def _psnr_step(span: float) -> float:
    return next(step for step in (1.0, 2.0, 5.0, 10.0, 20.0) if span <= 8 * step or step == 20.0)


def _grid(axes: Axes) -> list[str]:
    parts = []
    first, last = 10 ** axes.low[0], 10 ** axes.high[0]
    ticks = [digit * 10**power for power in range(12) for digit in (1, 2, 5) if first <= digit * 10**power <= last]
    for tick in ticks:
        px, bottom = axes.place(tick, axes.low[1])
        top = axes.place(tick, axes.high[1])[1]
        parts.append(f'<path d="M{px:.1f} {bottom:.1f}V{top:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{px:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{_size(tick)}</text>')
    step = _psnr_step(axes.high[1] - axes.low[1])
    for number in range(round((axes.high[1] - axes.low[1]) / step) + 1):
        level = axes.low[1] + number * step
        left, py = axes.place(first, level)
        right = axes.place(last, level)[0]
        parts.append(f'<path d="M{left:.1f} {py:.1f}H{right:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8:.1f}" y="{py + 4:.1f}" text-anchor="end">{level:g}</text>')
    middle = axes.place(10 ** (0.5 * (axes.low[0] + axes.high[0])), axes.low[1])
    parts.append(f'<text x="{middle[0]:.1f}" y="{middle[1] + 36:.1f}" text-anchor="middle">bytes of the file</text>')
    x, y = axes.x + 14, axes.y + HEIGHT / 2
    parts.append(f'<text x="{x}" y="{y}" text-anchor="middle" transform="rotate(-90 {x} {y})">PSNR on held-out views, dB</text>')
    return parts


def _size(count: float) -> str:
    return f"{count / 1e6:g} MB" if count >= 1e6 else f"{count / 1e3:g} kB"


def _mark(name: str, x: float, y: float) -> str:
    colour, shape = STYLES[name]
    d = {
        "square": f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8z",
        "triangle": f"M{x:.1f} {y - 5:.1f}l5 9h-10z",
        "diamond": f"M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
        "cross": f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8",
        "circle": f"M{x - 4.5:.1f} {y:.1f}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    }[shape]
    return f'<path d="{d}" stroke="{colour}" stroke-width="2" fill="{"none" if shape == "cross" else colour}"/>'
