# SPDX-License-Identifier: GPL-3.0-or-later
"""The quality report: its words, its pictures, its page and its JSON."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.evaluate.compare import Comparison, ViewScore, compare_views
from exgs_blender.evaluate.judging import Judges
from exgs_blender.evaluate.report import Facts, QualityReport, json_beside, measure, report_beside, write_numbers, write_report
from exgs_blender.evaluate.report.page import page_of
from exgs_blender.evaluate.report.pictures import cropped, heat_map, pictures_of, worst_crops
from exgs_blender.evaluate.report.words import VERDICTS, headline, judged_how, readable_bytes, relative_size, verdict, warnings

from ..clouds import random_gaussians

NASTY = '<script>alert("1")</script> & friends.exgs'
VOID = {"meta", "img", "input", "br"}


class _Page(HTMLParser):
    """Tags that close in order, addresses that the page asks for, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "srcset", "data")]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture(scope="module")
def quality() -> QualityReport:
    cloud = random_gaussians(1500, 1)
    cameras = orbit(extent_of(cloud), 4, width=96, height=72)
    facts = Facts(
        source="capture.ply",
        asset=NASTY,
        asset_bytes=5000,
        source_file_bytes=40_000,
        sections={"head": 400, "layer 0": 2600, "layer 1": 1900},
        attributes={"position": 3500, "colour": 1500},
        seconds={"read": 0.5, "score": 2.0},
        settings={"method": "merge", "ratio_wanted": 100.0, "amplification": None},
    )
    half = cloud.select(np.arange(0, 1500, 2))
    return measure(cloud, half, Judges(cameras, "held-out", 24, (0.2, 0.1, 0.3, 0.4), 0), facts)


def _comparison(
    psnr: list[float], *, covered: float = 1.0, lost: float = 0.0, sizes: tuple[int, int] = (76_000_000, 750_000)
) -> Comparison:
    views = tuple(ViewScore(f"v{i}", value, 0.9, 0.05, covered, lost) for i, value in enumerate(psnr))
    return Comparison(views, float(np.mean(psnr)), 0.9, 0.05, min(psnr), 0.05, *sizes, sizes[0] / sizes[1], 500_000, 60_000, "cpu")


def _judges(kind: str = "held-out", nearest: float = 0.2, moved: int = 0, scored: int = 24) -> Judges:
    cameras = orbit(extent_of(random_gaussians(10)), 8, width=64, height=48)
    return Judges(cameras, kind, scored, (nearest,) * 8, moved)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "window_flip", "expected"),
    [
        (_comparison([32.0, 34.2, 30.1]), 0.12, "101x smaller (76.0 -> 0.75 MB); looks like the capture: 32.1 dB, worst view 30.1 dB"),
        (_comparison([32.1]), 0.12, "101x smaller (76.0 -> 0.75 MB); looks like the capture: 32.1 dB, one view"),
        (_comparison([100.0, 100.0], sizes=(1000, 1000)), 0.0, "same size (1.00 -> 1.00 kB); identical to the capture"),
        (
            _comparison([36.0, 36.0], lost=0.02),
            0.12,
            "101x smaller (76.0 -> 0.75 MB); looks like the capture: 36.0 dB, worst view 36.0 dB; holes in 2 of 2 views",
        ),
        (
            _comparison([26.0, 24.0], sizes=(76_000_000, 75_512)),
            0.25,
            "1006x smaller (76.0 MB -> 75.5 kB); softer than the capture, small things lost: 25.0 dB, worst view 24.0 dB",
        ),
    ],
)
def test_headline(result: Comparison, window_flip: float, expected: str) -> None:
    assert headline(result, window_flip) == expected


def test_verdicts_fall_with_each_number_alone() -> None:
    """A good mean hides neither a bad view nor a bad window."""
    words = [v.words for v in VERDICTS]
    good = verdict(_comparison([40.0, 40.0]), 0.03).words
    assert good == words[1]
    assert words.index(verdict(_comparison([48.0, 26.0]), 0.03).words) > 2
    assert words.index(verdict(_comparison([40.0, 40.0]), 0.18).words) == 3
    assert verdict(_comparison([8.0, 8.0]), 0.9).words == words[-1]
    assert [v.psnr for v in VERDICTS] == sorted((v.psnr for v in VERDICTS), reverse=True)
    assert [v.window_flip for v in VERDICTS] == sorted(v.window_flip for v in VERDICTS)


def test_sizes_are_readable() -> None:
    assert [readable_bytes(n) for n in (999, 1500, 75_512, 750_000, 76_000_000, 2_480_000_000)] == [
        "999 bytes",
        "1.50 kB",
        "75.5 kB",
        "0.75 MB",
        "76.0 MB",
        "2.48 GB",
    ]
    assert [relative_size(r) for r in (0.5, 1.0, 1.02, 3.26, 101.4)] == [
        "2.0x larger",
        "same size",
        "1.02x smaller",
        "3.3x smaller",
        "101x smaller",
    ]


@pytest.mark.parametrize(
    ("result", "judges", "wanted", "expected"),
    [
        (_comparison([40.0, 40.0, 40.0, 30.0]), _judges(), 0, "View v3 is 7.5 dB below the mean"),
        (_comparison([40.0] * 4, lost=0.02), _judges(), 0, "View v0 has a hole: 2.0% of the picture"),
        (_comparison([40.0, 40.0]), _judges(), 0, "Only 2 views judged"),
        (_comparison([40.0] * 4, covered=0.1), _judges(), 0, "4 of 4 views show mostly empty space"),
        (_comparison([40.0] * 4), _judges("between"), 0, "lie near scored ones"),
        (_comparison([40.0] * 4), _judges(nearest=0.004), 0, "lie near scored ones"),
        (_comparison([40.0] * 4), _judges(), 110, "110x was asked for, 101.3x came out"),
    ],
)
def test_each_warning(result: Comparison, judges: Judges, wanted: float, expected: str) -> None:
    (found,) = warnings(result, judges, wanted)
    assert expected in found


def test_no_warning_without_a_reason() -> None:
    assert warnings(_comparison([36.0, 36.5, 35.0, 37.0]), _judges(), 101.0) == ()


def test_the_page_says_which_views_judged() -> None:
    assert "every eighth" in judged_how(_judges())
    assert "24 views that were scored" in judged_how(_judges())
    assert "24" not in judged_how(_judges(scored=0))
    assert "turned against the 24 views" in judged_how(_judges("generated"))
    assert "between consecutive frames" in judged_how(_judges("between"))
    assert "3 of them would have repeated a scored view" in judged_how(_judges(moved=3))
    assert "at least 20.0% of the picture's width" in judged_how(_judges())


def test_crops_are_the_worst_windows() -> None:
    difference = np.zeros((120, 160), np.float32)
    difference[70:90, 20:40], difference[5:20, 130:150], difference[60, 60] = 0.5, 0.4, 1.0
    first, second = worst_crops(difference, side=40)
    assert (first.top <= 70, first.top + first.height >= 90, first.left <= 20, first.left + first.width >= 40) == (True,) * 4
    assert (second.top <= 5, second.left <= 130, second.left + second.width >= 150) == (True,) * 3
    assert first.flip > second.flip > 0
    assert first.flip == pytest.approx(cropped(difference, first).mean(), abs=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(360, 480), (480, 640), (72, 96), (11, 11), (2000, 300)])
def test_two_crops_always_fit_and_never_overlap(shape: tuple[int, int]) -> None:
    difference = np.random.default_rng(0).random(shape).astype(np.float32)
    crops = worst_crops(difference)
    assert len(crops) == 2
    seen = np.zeros(shape, int)
    for crop in crops:
        cropped(seen, crop)[:] += 1  # type: ignore[arg-type]
    assert seen.max() == 1
    assert seen.sum() == sum(crop.width * crop.height for crop in crops)


def test_heat_grows_brighter_all_the_way() -> None:
    colours = heat_map(np.arange(256, dtype=np.uint8)[None]).astype(float)
    assert (np.diff(colours @ [0.2126, 0.7152, 0.0722]) >= 0).all()


def test_report_shows_worst_median_and_best(quality: QualityReport) -> None:
    ranked = sorted(quality.comparison.views, key=lambda view: view.psnr)
    assert [title for title, _ in quality.shown] == ["Worst view", "Median view", "Best view"]
    assert [pictures.score for _, pictures in quality.shown] == [ranked[0], ranked[1], ranked[3]]
    assert quality.window_flip >= max(pictures.crops[0].flip for _, pictures in quality.shown)
    assert 0 < quality.window_flip < 1
    assert quality.facts.seconds["report"] > 0


def test_pictures_are_what_was_compared() -> None:
    cloud = random_gaussians(800, 2)
    views = orbit(extent_of(cloud), 1, width=64, height=48)
    (pair,) = compare_views(cloud, cloud.select(np.arange(0, 800, 3)), views)
    kept = pictures_of(pair)
    assert np.abs(kept.original / 255.0 - pair.reference).max() <= 0.5 / 255 + 1e-6
    assert np.abs(kept.compressed / 255.0 - pair.image).max() <= 0.5 / 255 + 1e-6
    assert kept.difference.max() > 0
    assert pair.score.flip == pytest.approx(pair.difference.mean(), abs=1e-6)
    assert 0 < pair.score.covered <= 1
    assert 0 <= pair.score.lost <= pair.score.covered


def test_page_is_whole_and_asks_nothing_of_the_network(quality: QualityReport) -> None:
    text = page_of(quality, "numbers.json")
    page = _Page(text)
    assert page.open == []
    assert page.links == ["numbers.json"]
    assert len(page.sources) == 3 * (3 + 2 * 2)
    assert all(source.startswith("data:image/webp;base64,") for source in page.sources)
    assert "http" not in text
    assert text.count("<script") == 1, "a file's name became markup"
    assert NASTY in page.text
    for wanted in ("position", "70.0%", "layer 0", "2,600", "52.0%", "header and table", "capture.ply", "every eighth", *quality.warnings):
        assert wanted in page.text, wanted


def test_crops_on_the_page_are_exact(quality: QualityReport) -> None:
    sources = _Page(page_of(quality)).sources
    _, worst = quality.shown[0]
    for source, image in zip(sources[3:5], (worst.original, worst.compressed), strict=True):
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"))
        np.testing.assert_array_equal(decoded, cropped(image, worst.crops[0]))


def test_files(quality: QualityReport, tmp_path: Path) -> None:
    page, numbers = write_report(quality, report_beside(tmp_path / "scene.exgs"))
    assert (page.name, numbers.name) == ("scene.exgs.report.html", "scene.exgs.report.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [page.name, numbers.name]
    told = json.loads(numbers.read_text())
    assert told["format"] == "exgs-quality-report"
    assert told["headline"] == quality.headline
    assert told["views"][1]["psnr"] == quality.comparison.views[1].psnr
    assert told["sections"] == {"head": 400, "layer 0": 2600, "layer 1": 1900}
    assert told["attributes"] == {"position": 3500, "colour": 1500}
    assert told["judged"]["kind"] == "held-out"
    assert told["judged"]["scored_views"] == 24
    assert told["seconds"]["score"] == 2.0
    assert _Page(page.read_text()).links == [numbers.name]
    write_numbers(quality, tmp_path / "other.json")
    assert (tmp_path / "other.json").read_bytes() == numbers.read_bytes()
    assert json_beside(page) == numbers


def test_the_same_input_gives_the_same_bytes(quality: QualityReport) -> None:
    cloud = random_gaussians(1500, 1)
    again = measure(cloud, cloud.select(np.arange(0, 1500, 2)), quality.judges, quality.facts)
    again = replace(again, facts=quality.facts)  # the time it took is measured anew
    assert page_of(again) == page_of(quality)
    assert again.to_dict() == quality.to_dict()


def test_a_single_view_and_no_sections() -> None:
    cloud = random_gaussians(500, 3)
    cameras = orbit(extent_of(cloud), 1, width=48, height=36)
    quality = measure(cloud, cloud, Judges(cameras, "generated", 0, (0.1,), 0), Facts("a.ply", "b.ply", 1000))
    assert quality.headline.endswith("identical to the capture")
    assert [title for title, _ in quality.shown] == ["The only view"]
    page = _Page(page_of(quality))
    assert page.open == []
    assert "Worst" not in page.text
