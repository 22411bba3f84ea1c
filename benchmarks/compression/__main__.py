# SPDX-License-Identifier: GPL-3.0-or-later
"""The command; the package's docstring says what it does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import cache

from exgs_blender.errors import ExgsError
from exgs_blender.formats.describe import stored_bytes
from exgs_blender.threads import sleep_while_waiting

from . import __doc__ as about
from .judge import Judge, timed_reading
from .methods import METHODS, Made, Method, child, method_of, splat_transform_version
from .report import write_report
from .rows import Row, key_of, store, stored
from .scenes import DEFAULT, WORK, Capture, load

RATIOS = (30.0, 100.0, 300.0, 1000.0)
WHOLE_QUALITIES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Of the whole scene: from extreme to near-lossless rounding."""


def main() -> int:
    sleep_while_waiting()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compression", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", nargs="+", default=list(DEFAULT))
    parser.add_argument("--ratios", nargs="+", type=float, default=list(RATIOS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help=", ".join(METHODS))
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that a run of another program may take")
    parser.add_argument("--fresh", action="store_true", help="measure again what an earlier run left")
    parser.add_argument("--record", action="store_true", help="write the results to benchmarks/results too")
    options = parser.parse_args()
    try:
        methods = {name: method_of(name) for name in options.methods}
        captures, rows = [], []
        for name in options.scenes:
            capture = load(name)
            captures.append(capture)
            rows += list(_scene_rows(capture, methods, options))
        write_report(captures, rows, options.record)
    except ExgsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _scene_rows(capture: Capture, methods: dict[str, Method], options: argparse.Namespace) -> Iterator[Row]:
    """Rows of one scene, from earlier runs where nothing changed."""
    judge: Judge | None = None
    for name, method in methods.items():
        for setting in {"ratio": options.ratios, "whole": WHOLE_QUALITIES}.get(method.kind, [1.0]):
            peer = (splat_transform_version(), options.limit) if method.peer else ()
            source = capture.path.stat()
            key = key_of(method.code, capture.path, source.st_size, source.st_mtime_ns, name, setting, peer)
            row = None if options.fresh else stored(key)
            if row is None:
                if judge is None:
                    _warm_up()
                    judge = Judge(capture)
                row = _measure(capture, judge, name, method, setting, options.limit)
                if row.file or row.encode_seconds >= options.limit:  # other failures may pass
                    store(key, row)
            print(f"{capture.name:10} {row.label:18} {row.note or f'{row.bytes:>11,} bytes {row.psnr:6.2f} dB'}", flush=True)
            yield row


def _measure(capture: Capture, judge: Judge, name: str, method: Method, setting: float, limit: float) -> Row:
    wanted = setting if method.kind == "ratio" else None
    shown = f"{name}-{setting:g}" if method.kind in ("ratio", "whole") else name
    missing = method.missing()
    if missing:
        return Row(capture.name, name, wanted, note=missing)
    made = method.encode(capture, setting, capture.folder / shown, limit)
    return _judged(capture, judge, name, wanted, made)


def _judged(capture: Capture, judge: Judge, name: str, wanted: float | None, made: Made) -> Row:
    if made.file is None:
        return Row(capture.name, name, wanted, encode_seconds=round(made.seconds, 1), peak_bytes=made.peak_bytes, note=made.problem)
    cloud, seconds = timed_reading(made.file)
    verdict = judge.verdict(cloud)
    uncoded = made.file.suffix == ".ply" and ".compressed" not in made.file.name
    size = cloud.ply_bytes if uncoded else stored_bytes(made.file)
    return Row(
        scene=capture.name,
        method=name,
        ratio_wanted=wanted,
        file=str(made.file),
        bytes=size,
        ratio=round(capture.bytes / size, 2),
        kept=len(cloud),
        psnr=round(verdict.psnr, 3),
        worst_psnr=round(verdict.worst_psnr, 3),
        ssim=round(verdict.ssim, 4),
        encode_seconds=round(made.seconds, 1),
        decode_seconds=round(seconds, 3),
        peak_bytes=made.peak_bytes,
        stages=made.stages,
        sections=made.sections,
    )


@cache
def _warm_up() -> None:
    """Once: compiled kernels for every process that follows.

    Raises:
        ExgsError: not even a tiny cloud can be compressed.
    """
    done, _ = child("warm", folder=str(WORK))
    if done.problem:
        raise ExgsError(f"the compressor fails on a tiny cloud: {done.problem}")


if __name__ == "__main__":
    sys.exit(main())
