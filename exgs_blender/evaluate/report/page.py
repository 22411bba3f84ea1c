# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page without anything outside it. The same report gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from ...version import __version__
from ..flip import PIXELS_PER_DEGREE
from .measure import QualityReport
from .page_style import SCRIPT, STYLE
from .pictures import HEAT_FULL, HEAT_STOPS, Crop, ViewPictures, cropped, data_uri, heat_map
from .words import VERDICTS, judged_how, readable_bytes

PLAIN_NAMES = {"views": "scored views", "ratio_wanted": "ratio asked for"}
"""Settings whose names in a file's metadata say too little on a page."""


def page_of(report: QualityReport, numbers: str = "") -> str:
    """The page's text; ``numbers`` is the name of the JSON file beside it, empty where there is none."""
    size, _, quality = report.headline.partition("; ")
    parts = [
        f"<header><p>ExGS quality report &middot; {escape(report.facts.asset)}</p>",
        f"<h1>{_sentence(quality)}<span>{_sentence(size)}</span></h1></header>",
        _tiles(report),
        _warnings(report),
        f"<p>{escape(judged_how(report.judges))} Both are rendered alike and compared over black, without restoration.</p>",
        "<h2>See for yourself</h2>",
        *(_view(title, pictures) for title, pictures in report.shown),
        "<h2>All views that judged</h2>",
        _views_table(report),
        "<h2>Where the bytes are</h2>",
        *_size_tables(report),
        *_seconds(report),
        *_settings(report),
        _footer(numbers),
    ]
    title = escape(f"{report.facts.asset}: quality report")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f'<meta name="description" content="{escape(report.headline)}"><title>{title}</title><style>{STYLE}</style>'
    body = "\n".join(part for part in parts if part)
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n<script>{SCRIPT}</script>\n</body>\n</html>\n'


def _sentence(text: str) -> str:
    return escape(text[:1].upper() + text[1:]).replace("-&gt;", "&rarr;").replace(" dB", "&nbsp;dB")


def _tiles(report: QualityReport) -> str:
    result = report.comparison
    tiles = [
        ("PSNR", f"{result.psnr:.2f} dB", f"worst view {result.worst_psnr:.2f} dB"),
        ("SSIM", f"{result.ssim:.4f}", "1 is equal"),
        ("FLIP", f"{result.flip:.4f}", f"worst view {result.worst_flip:.4f}; 0 is no difference"),
        ("File", readable_bytes(result.candidate_bytes), f"{readable_bytes(result.source_bytes)} as PLY"),
        ("Gaussians", f"{result.candidate_count:,}", f"of {result.source_count:,}"),
    ]
    inner = "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}<small>{escape(c)}</small></dd></div>" for a, b, c in tiles)
    return f'<dl class="tiles">{inner}</dl>'


def _warnings(report: QualityReport) -> str:
    if not report.warnings:
        return ""
    return '<ul class="warnings">' + "".join(f"<li>{escape(warning)}</li>" for warning in report.warnings) + "</ul>"


def _view(title: str, pictures: ViewPictures) -> str:
    score = pictures.score
    numbers = f"PSNR {score.psnr:.2f} dB, SSIM {score.ssim:.4f}, FLIP {score.flip:.4f}"
    height, width = pictures.difference.shape
    size = f'width="{width}" height="{height}"'
    swipe = (
        f'<figure><div class="swipe"><img alt="original" src="{data_uri(pictures.original, False)}" {size}>'
        f'<img alt="compressed" src="{data_uri(pictures.compressed, False)}" {size}><i></i><b>original</b><b>compressed</b></div>'
        '<input type="range" value="50" aria-label="original on the left, compressed on the right"></figure>'
    )
    colours = ", ".join(f"rgb{colour} {100 * place:.0f}%" for place, colour in HEAT_STOPS)
    heat = (
        f'<figure><img class="heat" alt="FLIP map" src="{data_uri(heat_map(pictures.difference), False)}" {size}>'
        f'<div class="legend"><span>FLIP 0</span><span style="background: linear-gradient(90deg, {colours})"></span>'
        f"<span>{HEAT_FULL:g} and more</span></div></figure>"
    )
    crops = "".join(_crop(pictures, crop) for crop in pictures.crops)
    return (
        f'<h3>{escape(title)}<small>{escape(score.name)}: {numbers}</small></h3><div class="pair">{swipe}{heat}</div>'
        '<p class="soft">Where it differs most, at 100% zoom: original on the left, compressed on the right.</p>'
        f'<div class="crops">{crops}</div>'
    )


def _crop(pictures: ViewPictures, crop: Crop) -> str:
    size = f'width="{crop.width}" height="{crop.height}"'
    pair = "".join(
        f'<img alt="{name}" src="{data_uri(cropped(image, crop), True)}" {size}>'
        for name, image in (("original", pictures.original), ("compressed", pictures.compressed))
    )
    caption = f"at {crop.left}, {crop.top}; FLIP {crop.flip:.3f}"
    return f'<figure><div class="exact">{pair}</div><figcaption>{caption}</figcaption></figure>'


def _views_table(report: QualityReport) -> str:
    rows = [
        [view.name, f"{view.psnr:.2f}", f"{view.ssim:.4f}", f"{view.flip:.4f}", f"{view.covered:.0%}", f"{view.lost:.1%}", f"{nearest:.1%}"]
        for view, nearest in zip(report.comparison.views, report.judges.nearest, strict=True)
    ]
    result = report.comparison
    total = ["mean", f"{result.psnr:.2f}", f"{result.ssim:.4f}", f"{result.flip:.4f}", "", "", ""]
    return _table(["view", "PSNR dB", "SSIM", "FLIP", "covered", "holes", "nearest scored view, of the width"], rows, total)


def _size_tables(report: QualityReport) -> Iterable[str]:
    result, facts = report.comparison, report.facts
    if facts.attributes:
        yield _size_table(report, "attribute", facts.attributes)
    if facts.sections or not facts.attributes:
        yield _size_table(report, "section", facts.sections)
    each = result.source_bytes / max(result.source_count, 1)
    note = f"The capture as a float32 PLY takes {result.source_bytes:,} bytes, {each:.0f} per Gaussian; the ratio is told against that."
    on_disk = facts.source_file_bytes
    if on_disk and abs(on_disk / max(result.source_bytes, 1) - 1) > 0.1:
        note += f" The file that was read takes {on_disk:,} bytes on disk ({on_disk / max(result.candidate_bytes, 1):.1f}x the asset)."
    yield f'<p class="soft">{escape(note)}</p>'


def _size_table(report: QualityReport, kind: str, sizes: dict[str, int]) -> str:
    whole, count = report.comparison.candidate_bytes, max(report.comparison.candidate_count, 1)
    rest = whole - sum(sizes.values())
    if sizes and rest:
        sizes = {**sizes, "header and table": rest}
    rows = [[name, f"{size:,}", f"{size / max(whole, 1):.1%}", f"{size / count:.2f}", _bar(size, whole)] for name, size in sizes.items()]
    total = ["file", f"{whole:,}", "100%", f"{whole / count:.2f}", ""]
    return _table([kind, "bytes", "share", "bytes per Gaussian", ""], rows, total, bars=True)


def _seconds(report: QualityReport) -> Iterable[str]:
    seconds = report.facts.seconds
    whole = sum(seconds.values())
    rows = [[name, f"{value:.2f}", _bar(value, whole)] for name, value in seconds.items()]
    yield "<h2>How long it took</h2>"
    yield _table(["stage", "seconds", ""], rows, ["all", f"{whole:.2f}", ""], bars=True)


def _settings(report: QualityReport) -> Iterable[str]:
    settings = {PLAIN_NAMES.get(name, name): value for name, value in report.facts.settings.items()}
    known: dict[str, Any] = {
        "capture": report.facts.source,
        **settings,
        "rendered by": report.comparison.backend,
        "judged by": f"ExGS {__version__}",
    }
    yield "<h2>How it was made</h2>"
    yield _table(["setting", "value"], [[name.replace("_", " "), _plain(value)] for name, value in known.items()])


def _footer(numbers: str) -> str:
    link = f' The numbers as JSON: <a href="{escape(quote(numbers))}">{escape(numbers)}</a>.' if numbers else ""
    words = [
        [v.words, f"{v.psnr:g} dB", f"{v.worst_psnr:g} dB", f"{v.window_flip:g}"] if v is not VERDICTS[-1] else [v.words, "", "", ""]
        for v in VERDICTS
    ]
    meaning = _table(["the headline says", "mean PSNR at least", "worst view at least", "FLIP of the worst window at most"], words)
    return (
        f"<footer><details><summary>What the headline's words mean</summary>{meaning}</details>"
        "<p>PSNR and SSIM (Wang et al. 2004) over sRGB values; FLIP (Andersson et al. 2020) at "
        f"{PIXELS_PER_DEGREE:g} pixels per degree, mean of its map. "
        f"Crops are lossless; the large pictures are stored with a little loss.{link}</p></footer>"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], total: Sequence[str] = (), bars: bool = False) -> str:
    """Cells are text, except the last one of a table with bars."""

    def row(cells: Sequence[str], tag: str = "") -> str:
        inner = [f"<td>{escape(cell)}</td>" for cell in cells]
        if bars:
            inner[-1] = f'<td class="bar">{cells[-1]}</td>'
        return f"<tr{tag}>{''.join(inner)}</tr>"

    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(row(cells) for cells in rows) + (row(total, ' class="total"') if total else "")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _bar(value: float, whole: float) -> str:
    return f'<span style="width: {100 * value / max(whole, 1e-9):.1f}%"></span>'


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
