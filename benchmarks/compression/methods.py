# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way to make a scene small: ours, the paper's, baselines coded by our coder, and other people's programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from exgs_blender.errors import ExgsError

from .child import TOLERANCE
from .processes import Finished, run
from .rows import PACKAGE
from .scenes import ROOT, Capture

OWN_LIMIT = 3600.0
GEOMETRIC_TRIALS = 5
GEOMETRIC_BYTES_PER_GAUSSIAN = 12.0
"""First guess; the search corrects it."""
KEPT_SHARE = 0.1
NO_CONVERTER = "splat-transform is not installed (npm install --prefix .venv-node @playcanvas/splat-transform)"
OWN_CODE = ("ugc", "render", "splats", "cameras", "evaluate/held_out.py", "worker/compression.py", "formats/ply.py")
REDUCING = ("amplify", "merge", "prune", "rate", "refit", "score", "thinning")
CODER_CODE = (
    *(f"ugc/{path.name}" for path in sorted((PACKAGE / "ugc").glob("*.py")) if not path.stem.startswith(REDUCING)),
    "splats",
    "formats/ply.py",
)
"""What coding depends on; how clouds become smaller has no part in it."""
READER_CODE = ("formats",)


@dataclass(frozen=True)
class Made:
    """A file that a method wrote, or why it did not.

    Attributes:
        kept: Gaussians, 0 where only the reader can tell.
        problem: empty, or one line.
    """

    file: Path | None
    seconds: float
    peak_bytes: int
    kept: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    sections: dict[str, int] = field(default_factory=dict)
    problem: str = ""


Encode = Callable[[Capture, float, Path, float], Made]
"""encode(capture, ratio (1 where there is none), path without its suffix, limit of seconds for other people's programs)"""


@dataclass(frozen=True)
class Method:
    """How one line of the plot is made.

    Attributes:
        title: for tables and plots.
        kind: a file at each ratio; one file; one cloud that is not coded; files of the whole scene at several levels.
        code: what of this package the result depends on (see ``rows.key_of``).
        peer: whether splat-transform has a part in it.
    """

    title: str
    kind: Literal["ratio", "fixed", "uncoded", "whole"]
    encode: Encode
    code: tuple[str, ...]
    peer: bool = False

    def missing(self) -> str:
        """Empty, or why it cannot run here."""
        return NO_CONVERTER if self.peer and not splat_transform() else ""


def child(job: str, **arguments: Any) -> tuple[Finished, dict[str, Any]]:
    """Run a job of ``child`` in a process of its own: what the process did, and what it answered (empty where it failed)."""
    command = [sys.executable, "-m", "benchmarks.compression.child", job, json.dumps(arguments)]
    done = run(command, OWN_LIMIT, ROOT)
    return done, {} if done.problem else json.loads(done.output.splitlines()[-1])


def _compress(method: str) -> Encode:
    def encode(capture: Capture, ratio: float, stem: Path, limit: float) -> Made:
        target = stem.with_suffix(".exgs")
        cameras = str(capture.scored or "")
        done, answer = child("compress", source=str(capture.path), target=str(target), ratio=ratio, method=method, cameras=cameras)
        return _own(done, answer, target)

    return encode


def _prune(by: str) -> Encode:
    def encode(capture: Capture, ratio: float, stem: Path, limit: float) -> Made:
        target = stem.with_suffix(".exgs")
        return _own(*child("prune", source=str(capture.path), target=str(target), ratio=ratio, by=by), target)

    return encode


def _whole(capture: Capture, quality: float, stem: Path, limit: float) -> Made:
    target = stem.with_suffix(".exgs")
    return _own(*child("whole", source=str(capture.path), target=str(target), quality=quality), target)


def _keep(capture: Capture, ratio: float, stem: Path, limit: float) -> Made:
    target = stem.with_suffix(".ply")
    cameras = str(capture.scored or "")
    return _own(*child("keep", source=str(capture.path), target=str(target), share=KEPT_SHARE, cameras=cameras), target)


def _own(done: Finished, answer: dict[str, Any], target: Path) -> Made:
    if done.problem:
        return Made(None, done.seconds, done.peak_bytes, problem=done.problem)
    return Made(target, done.seconds, done.peak_bytes, answer["kept"], answer.get("seconds", {}), answer.get("sections", {}))


def _geometric(capture: Capture, ratio: float, stem: Path, limit: float) -> Made:
    """splat-transform's pairwise merging, to the count that our coder brings within TOLERANCE below the budget.

    Time and memory are those of the trial that fits: its merging and its coding.
    """
    merged, target, budget = stem.with_suffix(".ply"), stem.with_suffix(".exgs"), capture.budget(ratio)
    count = min(int(budget / GEOMETRIC_BYTES_PER_GAUSSIAN), len(capture.cloud))
    for _ in range(GEOMETRIC_TRIALS):
        merging = _splat_transform(capture, merged, limit, "--decimate", str(count))
        if merging.problem:
            return merging
        coding, answer = child("code", source=str(merged), target=str(target), ratio=ratio)
        if coding.problem:
            return _own(coding, answer, target)
        size = target.stat().st_size
        if (1 - TOLERANCE) * budget <= size <= budget:
            break
        count = min(int(answer["kept"] * 0.985 * budget / size), len(capture.cloud))
    merged.unlink()
    stages = {"merge": round(merging.seconds, 2), "code": round(coding.seconds, 2)}
    return Made(target, merging.seconds + coding.seconds, max(merging.peak_bytes, coding.peak_bytes), answer["kept"], stages)


def _geometric_uncoded(capture: Capture, ratio: float, stem: Path, limit: float) -> Made:
    return _splat_transform(capture, stem.with_suffix(".ply"), limit, "--decimate", f"{KEPT_SHARE:.0%}")


def _peer(suffix: str, *options: str) -> Encode:
    def encode(capture: Capture, ratio: float, stem: Path, limit: float) -> Made:
        return _splat_transform(capture, stem.with_name(stem.name + suffix), limit, *options)

    return encode


def _splat_transform(capture: Capture, target: Path, limit: float, *options: str) -> Made:
    done = run([splat_transform() or "", "-q", "-w", "--gpu", "cpu", capture.path, *options, target], limit)
    for left in target.parent.glob(f".{target.name}.*.tmp"):  # where it was stopped
        left.unlink()
    return Made(None if done.problem else target, done.seconds, done.peak_bytes, problem=done.problem)


@cache
def splat_transform() -> str | None:
    """Where PlayCanvas's converter is, if it is."""
    beside = ROOT / ".venv-node" / "node_modules" / ".bin" / "splat-transform"
    return str(beside) if beside.exists() else shutil.which("splat-transform")


@cache
def splat_transform_version() -> str:
    """Its version; empty where it is not there."""
    program = splat_transform()
    if not program:
        return ""
    package = Path(program).resolve().parents[1] / "package.json"
    return str(json.loads(package.read_text(encoding="utf-8"))["version"]) if package.is_file() else "of an unknown version"


def _converted(title: str, kind: Literal["ratio", "fixed", "uncoded"], encode: Encode, code: tuple[str, ...] = READER_CODE) -> Method:
    return Method(title, kind, encode, code, peer=True)


METHODS = {
    "ours": Method("ours", "ratio", _compress("merge"), OWN_CODE),
    "paper": Method("paper (exgs)", "ratio", _compress("exgs"), OWN_CODE),
    "geometric": _converted("splat-transform -F, our coder", "ratio", _geometric, CODER_CODE),
    "volume": Method("opacity x volume, our coder", "ratio", _prune("volume"), CODER_CODE),
    "random": Method("random, our coder", "ratio", _prune("random"), CODER_CODE),
    "kept": Method("ours, 10 %, not coded", "uncoded", _keep, OWN_CODE),
    "geometric-kept": _converted("splat-transform -F 10%, not coded", "uncoded", _geometric_uncoded),
    "whole": Method("ours, nothing pruned", "whole", _whole, CODER_CODE),
    "compressed-ply": _converted("compressed.ply", "fixed", _peer(".compressed.ply")),
    "spz": _converted("SPZ v4", "fixed", _peer(".spz")),
    "sog-no-sh": _converted("SOG without SH", "fixed", _peer(".sog", "--filter-harmonics", "0")),
    "sog": _converted("SOG", "fixed", _peer(".sog")),
}


def method_of(name: str) -> Method:
    """By its name on the command line.

    Raises:
        ExgsError: there is none of that name.
    """
    if name not in METHODS:
        raise ExgsError(f"method '{name}' does not exist, expected one of {', '.join(METHODS)}")
    return METHODS[name]
