# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's sentences: a headline that an artist can trust, how it was judged, and what to look at."""

from __future__ import annotations

from dataclasses import dataclass

from ..compare import Comparison
from ..judging import LEAST_SHIFT, Judges
from ..metrics import MAX_PSNR


@dataclass(frozen=True)
class Verdict:
    """A phrase and what a result must reach to be called so.

    Attributes:
        words: the phrase.
        psnr, worst_psnr: least mean and least worst PSNR of the views, dB.
        window_flip: largest mean FLIP of the worst window of any view. Unlike means over views it does not improve with the black
            around an object.
    """

    words: str
    psnr: float
    worst_psnr: float
    window_flip: float


VERDICTS = (
    Verdict("identical to the capture", MAX_PSNR, MAX_PSNR, 0.0),
    Verdict("hard to tell from the capture", 38.0, 35.0, 0.06),
    Verdict("looks like the capture", 31.0, 28.5, 0.15),
    Verdict("close to the capture, fine detail is softer", 27.0, 24.5, 0.20),
    Verdict("softer than the capture, small things lost", 23.0, 20.0, 0.28),
    Verdict("a rough stand-in for the capture", 0.0, 0.0, 1.0),
)
"""Best first; a result is called by the first that it reaches in all three numbers. Set by eye on an object and on rooms at 20x to
1000x; they are conventions, not measurements of what people notice."""

FAR_BELOW_MEAN = 4.0
"""dB that the worst view may lie below the mean before the report points at it."""
FEW_VIEWS = 4
MOSTLY_EMPTY = 0.2
"""Views covered less than this are mostly black in both pictures, which flatters every metric."""
HOLE = 0.005
"""Part of a picture that may get lost, at silhouettes above all, before the report speaks of a hole."""
SIZE_TOLERANCE = 0.03


def verdict(result: Comparison, window_flip: float) -> Verdict:
    """The first of ``VERDICTS`` whose three thresholds the result reaches."""
    reached = (v for v in VERDICTS if result.psnr >= v.psnr and result.worst_psnr >= v.worst_psnr and window_flip <= v.window_flip)
    return next(reached, VERDICTS[-1])


def headline(result: Comparison, window_flip: float) -> str:
    """One sentence, e.g. "101x smaller (76.0 -> 0.75 MB); looks like the capture: 32.1 dB, worst view 30.1 dB"."""
    size = f"{relative_size(result.ratio)} ({size_change(result.source_bytes, result.candidate_bytes)})"
    best = verdict(result, window_flip)
    if best.psnr >= MAX_PSNR:
        return f"{size}; {best.words}"
    worst = f", worst view {result.worst_psnr:.1f} dB" if len(result.views) > 1 else ", one view"
    holes = sum(view.lost > HOLE for view in result.views)
    return f"{size}; {best.words}: {result.psnr:.1f} dB{worst}" + (f"; holes in {holes} of {len(result.views)} views" if holes else "")


def relative_size(ratio: float) -> str:
    """How many times smaller; below 1 how many times larger."""
    factor, word = (ratio, "smaller") if ratio >= 1 else (1 / max(ratio, 1e-9), "larger")
    if factor < 1.005:
        return "same size"
    return f"{factor:.0f}x {word}" if factor >= 10 else f"{factor:.1f}x {word}" if factor >= 1.05 else f"{factor:.2f}x {word}"


def size_change(before: int, after: int) -> str:
    """Two sizes with three digits each; the unit is told once where it is the same."""
    (first, unit), (second, other) = _in_unit(before), _in_unit(after)
    return f"{first} -> {second} {other}" if unit == other else f"{first} {unit} -> {second} {other}"


def readable_bytes(count: float) -> str:
    """Bytes in a decimal unit, from 0.1 MB on in the one that artists know."""
    value, unit = _in_unit(count)
    return f"{value} {unit}"


def judged_how(judges: Judges) -> str:
    """Which views judged, in plain words."""
    views = f"{len(judges.cameras)} view" + ("s" if len(judges.cameras) != 1 else "")
    match judges.kind:
        case "held-out":
            text = (
                f"{views} of the camera file judge: every eighth, which compression leaves out unless it is told that the file is a shot."
            )
            if judges.scored:
                text += f" The {judges.scored} views that were scored are others of the same file."
        case "listed":
            text = f"{views} of the file of judging cameras judge; compression leaves out what is named there."
        case "generated":
            scored = f"the {judges.scored} views that were scored" if judges.scored else "those that compression scores"
            text = f"No camera file was given: {views} around the capture judge, turned against {scored}."
        case "between":
            text = f"Every camera of the shot was open to scoring, so none of them may judge: {views} between consecutive frames do, "
            text += "and beside them where the camera hardly moves."
    if judges.moved:
        text += f" {judges.moved} of them would have repeated a scored view and stepped aside."
    nearest = min(judges.nearest)
    return f"{text} What they show lies at least {nearest:.1%} of the picture's width away from where any scored view shows it."


def warnings(result: Comparison, judges: Judges, wanted_ratio: float = 0.0) -> tuple[str, ...]:
    """What a reader must know before trusting the headline.

    Args:
        wanted_ratio: what compression was asked for; 0 where there was no such wish.
    """
    found = []
    worst = min(result.views, key=lambda view: view.psnr)
    if result.psnr - worst.psnr > FAR_BELOW_MEAN:
        found.append(
            f"View {worst.name} is {result.psnr - worst.psnr:.1f} dB below the mean. Look at it first; "
            "if the shot goes there, give cameras near it or compress less."
        )
    hole = max(result.views, key=lambda view: view.lost)
    if hole.lost > HOLE:
        found.append(
            f"View {hole.name} has a hole: {hole.lost:.1%} of the picture is empty where the capture is not, "
            "most often because no scored view saw what was there. Give cameras near it or compress less."
        )
    if len(result.views) < FEW_VIEWS:
        found.append(f"Only {len(result.views)} view{'s' if len(result.views) > 1 else ''} judged: the mean says little about the rest.")
    empty = [view.name for view in result.views if view.covered < MOSTLY_EMPTY]
    if empty:
        found.append(
            f"{len(empty)} of {len(result.views)} views show mostly empty space (less than {MOSTLY_EMPTY:.0%} covered): "
            "black against black flatters every number. Trust the crops."
        )
    if judges.kind == "between" or min(judges.nearest) < LEAST_SHIFT:
        found.append(
            "The judging views lie near scored ones, as a shot's frames do: "
            "this says how the shot looks, not how the capture looks from elsewhere."
        )
    if wanted_ratio and abs(result.ratio / wanted_ratio - 1) > SIZE_TOLERANCE:
        found.append(f"{wanted_ratio:g}x was asked for, {result.ratio:.1f}x came out.")
    return tuple(found)


def _in_unit(count: float) -> tuple[str, str]:
    for limit, unit in ((1e9, "GB"), (1e5, "MB"), (1e3, "kB")):
        if count >= 0.9995 * limit:
            return _digits(count / (1e6 if unit == "MB" else limit)), unit
    return f"{count:.0f}", "bytes"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
