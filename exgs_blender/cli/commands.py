# SPDX-License-Identifier: GPL-3.0-or-later
"""What each command takes, does and prints. The work itself is in ``worker.jobs``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ExgsError
from ..formats import readable_suffixes, writable_suffixes
from ..worker.protocol import BESIDE
from . import build_painter, train_painter
from .terminal import Terminal, megabytes


@dataclass(frozen=True)
class Command:
    """One sub-command: its name, its line in ``--help``, its arguments, its function."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Terminal], None]


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", help=f"one of {', '.join(readable_suffixes())}")
    parser.add_argument("target", metavar="OUT", help=f"one of {', '.join(writable_suffixes())}")
    parser.add_argument("--sh-degree", type=int, choices=range(5), default=None, help="drop the SH bands above it (default: keep all)")
    parser.add_argument("--lod", type=_level, default=None, metavar="LEVEL", help="level of a streamed SOG capture, 0 the finest")
    parser.add_argument("--spz-version", type=int, choices=range(1, 5), default=None, help="for a target in SPZ (default 3)")


def _convert(options: argparse.Namespace, terminal: Terminal) -> None:
    from ..worker import jobs

    result = jobs.convert(options.source, options.target, options.sh_degree, options.lod, options.spz_version, report=terminal.report)
    what = f"{result['count']:,} Gaussians of SH degree {result['sh_degree']}, {megabytes(result['bytes'])}"
    terminal.result(result, [f"{options.target}: {what}"])


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="any splat file")
    parser.add_argument("--lod", type=_level, default=None, metavar="LEVEL", help="level of a streamed SOG capture, 0 the finest")


def _info(options: argparse.Namespace, terminal: Terminal) -> None:
    from ..formats import read
    from ..formats.describe import describe

    gaussians = read(options.file, report=terminal.report, **({} if options.lod is None else {"level": options.lod}))
    facts = describe(Path(options.file), gaussians)
    width = max(len(name) for name in facts)
    terminal.result(facts, [f"{name:<{width}}  {_readable(value)}" for name, value in facts.items()])


def _compress_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", help="a capture")
    parser.add_argument("target", metavar="OUT.exgs", help="the compressed asset")
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument("--ratio", type=_ratio, default=0.0, help="how many times smaller than the capture's PLY (default 100)")
    goal.add_argument("--size", type=_bytes, default=0, metavar="3MB", help="size of the file")
    goal.add_argument("--psnr", type=_decibels, default=0.0, metavar="DB", help="quality that views set aside for this must show")
    goal.add_argument("--preset", choices=("near-lossless", "balanced", "extreme"), default="", help="every splat; ratio 100; ratio 1000")
    parser.add_argument("--cameras", default="", metavar="FILE", help="views that matter: cameras.json, transforms.json, or ours")
    parser.add_argument("--judges", default="", metavar="FILE", help="cameras that judge the result and are not scored")
    parser.add_argument("--views", type=_positive, default=0, help="how many views to score (default 24, or up to 96 of a file)")
    parser.add_argument("--shot", action="store_true", help="every view of the file must look good: leave none out to judge by")
    _up_argument(parser)
    everywhere = "share of the attention, 0 to 1, for views from all around beside those of the file"
    parser.add_argument("--everywhere", type=_fraction, default=0.0, metavar="SHARE", help=everywhere)
    parser.add_argument("--method", choices=("merge", "exgs"), default="merge", help="ours (default), or the paper's chain")
    flag = argparse.BooleanOptionalAction
    parser.add_argument("--restoration", action=flag, default=True, help="measure which repair the frames need, and note it in the file")
    report = parser.add_mutually_exclusive_group()
    report.add_argument("--report", default=BESIDE, metavar="PAGE.html", help="the quality report (default: OUT.exgs.report.html)")
    report.add_argument("--no-report", dest="report", action="store_const", const="", help="do not judge the result")


def _compress(options: argparse.Namespace, terminal: Terminal) -> None:
    from ..worker.compression import compress

    result = compress(
        options.source,
        options.target,
        options.ratio,
        options.cameras,
        options.method,
        options.views,
        hold_out=not options.shot,
        page=options.report,
        size=options.size,
        psnr=options.psnr,
        preset=options.preset,
        everywhere=options.everywhere,
        judges=options.judges,
        restoration=options.restoration,
        up=options.up,
        report=terminal.report,
    )
    terminal.result(result, compression_lines(result))


def compression_lines(result: dict[str, Any]) -> list[str]:
    """The result of the compress job for a person."""
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in result["seconds"].items())
    return [
        f"{result['target']}: {megabytes(result['source_bytes'])} -> {megabytes(result['bytes'])}, {result['ratio']:.1f}x smaller",
        f"  {result['kept']:,} of {result['count']:,} Gaussians, scored over {result['views']} views",
        "  " + ", ".join(f"{name} {megabytes(size)}" for name, size in result["sections"].items()),
        f"  {seconds}; peak memory {megabytes(result['peak_bytes'])}",
        *report_lines(result),
    ]


def report_lines(result: dict[str, Any]) -> list[str]:
    """What the quality report says and where it is, for a person."""
    found = [result["headline"], *(f"  note: {warning}" for warning in result["warnings"])] if "headline" in result else []
    return found + [f"  report: {result[name]}" for name in ("report", "report_json") if name in result][:1]


def _render_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("asset", metavar="ASSET", help="a compressed asset or any splat file")
    parser.add_argument("--cameras", required=True, metavar="FILE", help="cameras.json, transforms.json, or ours")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="frames are named by their image name or frame number")
    parser.add_argument("--format", choices=("png", "exr"), default="png", help="8-bit sRGB, or multilayer scene-linear with depth")
    parser.add_argument("--restore", action=argparse.BooleanOptionalAction, default=True, help="repair the frames with GaussPainter")
    parser.add_argument("--strength", type=_fraction, default=1.0, help="how much of the repair to blend in, 0 to 1")
    steady = "the cameras are an animation, in the file's order: keep the repair from flickering (default)"
    parser.add_argument("--temporal", action=argparse.BooleanOptionalAction, default=True, help=steady)
    parser.add_argument("--size", type=_positive, default=0, metavar="PIXELS", help="scale frames: pixels of the longer side")
    parser.add_argument("--rasterize-mode", choices=("classic", "antialiased"), default="classic")
    parser.add_argument("--backend", choices=("auto", "gsplat", "cpu", "reference"), default="auto")
    parser.add_argument("--checkpoint", default="", metavar="FOLDER", help="another GaussPainter checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="render frames that exist anew")


def _render(options: argparse.Namespace, terminal: Terminal) -> None:
    from ..worker import jobs

    result = jobs.render(
        options.asset,
        options.cameras,
        options.output,
        options.format,
        options.restore,
        options.strength,
        options.rasterize_mode,
        options.backend,
        options.overwrite,
        options.size,
        options.checkpoint,
        options.temporal,
        report=terminal.report,
    )
    kept = len(result["frames"]) - result["rendered"]
    lines = [f"{options.output}: {result['rendered']} frames rendered" + (f", {kept} were there already" if kept else "")]
    if result["rendered"]:
        each = ", ".join(f"{name} {value / result['rendered']:.2f} s" for name, value in result["seconds"].items())
        lines.append(f"  a frame: {each}; {result['backend']}")
    terminal.result(result, lines)


def _eval_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("original", metavar="CAPTURE", help="the capture before compression")
    parser.add_argument("candidate", metavar="ASSET", help="the compressed asset")
    parser.add_argument("--cameras", default="", metavar="FILE", help="judge on every eighth of its views; else on generated ones")
    parser.add_argument("--views", type=_positive, default=8, help="how many views to judge on (default 8)")
    parser.add_argument("--judges", default="", metavar="FILE", help="judge on all of its views instead, evenly picked")
    parser.add_argument("--shot", action="store_true", help="the file is a shot, all of it scored: judge between its frames")
    parser.add_argument("--html", default="", metavar="PAGE.html", help="write the quality report, pictures and all, and its JSON file")
    parser.add_argument("--json", default="", metavar="FILE", help="write the numbers (default with --html: beside the page)")


def _eval(options: argparse.Namespace, terminal: Terminal) -> None:
    from ..worker import jobs

    result = jobs.evaluate(
        options.original,
        options.candidate,
        options.cameras,
        options.views,
        options.shot,
        options.html,
        options.json,
        options.judges,
        report=terminal.report,
    )
    values = {name: value for name, value in result.items() if name != "table"}
    terminal.result(values, [result["table"], *report_lines(result)])


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    del parser


def _doctor(options: argparse.Namespace, terminal: Terminal) -> None:
    from ..worker.doctor import doctor

    del options
    values = doctor(report=terminal.report)
    lines = values.pop("lines")
    terminal.result(values, lines)
    if not values["healthy"]:
        raise ExgsError("this environment cannot run every part of ExGS; see the lines above")


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", default="", help="a capture; without it a built-in scene is made")
    parser.add_argument("--output", default="exgs_demo", metavar="FOLDER", help="where everything goes (default ./exgs_demo)")
    parser.add_argument("--ratio", type=_ratio, default=100.0, help="how many times smaller (default 100)")
    parser.add_argument("--cameras", default="", metavar="FILE", help="the capture's own cameras: the flight follows them")
    parser.add_argument("--frames", type=_positive, default=24, help="length of the flythrough (default 24)")
    parser.add_argument("--size", type=_positive, default=640, metavar="PIXELS", help="width of the frames (default 640)")
    _up_argument(parser)


def _demo(options: argparse.Namespace, terminal: Terminal) -> None:
    from .demo import DemoSettings, run_demo

    settings = DemoSettings(
        source=options.file,
        output=Path(options.output).resolve(),
        ratio=options.ratio,
        cameras=options.cameras,
        frames=options.frames,
        width=options.size,
        up=options.up,
    )
    run_demo(settings, terminal)


def _up_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--up", choices=("-y", "+y", "+z"), default="-y", help="the capture's up axis, for made views (default -y)")


def _ratio(text: str) -> float:
    value = float(text)
    if not value >= 1:
        raise argparse.ArgumentTypeError("the ratio must be 1 or more")
    return value


def _bytes(text: str) -> int:
    """A whole number of bytes, or a number of kB, MB (a thousand, a million bytes), KiB or MiB."""
    units = {"kib": 1 << 10, "mib": 1 << 20, "kb": 1000, "mb": 1_000_000, "b": 1, "": 1}
    number = text.strip().lower().rstrip("kmib")
    unit = text.strip().lower()[len(number) :]
    try:
        size = round(float(number) * units[unit])
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write it like 3MB or 750kB") from None
    if size < 1:
        raise argparse.ArgumentTypeError("the size must be more than nothing")
    return size


def _decibels(text: str) -> float:
    value = float(text)
    if not 10 <= value <= 60:
        raise argparse.ArgumentTypeError("the PSNR must be between 10 and 60 dB")
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return value


def _level(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(_readable(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_readable(item)}" for name, item in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


COMMANDS = (
    Command("convert", "Convert a splat file to another format.", _convert_arguments, _convert),
    Command("info", "Say what is in a splat file.", _info_arguments, _info),
    Command("compress", "Compress a capture with UGC into an .exgs asset.", _compress_arguments, _compress),
    Command("render", "Render cameras into frames, restored by GaussPainter.", _render_arguments, _render),
    Command("train-painter", "Train GaussPainter on captures of your own.", train_painter.arguments, train_painter.run),
    Command("build-painter", "Train a painter on your own SD-Turbo-class model.", build_painter.arguments, build_painter.run),
    Command("eval", "Measure an asset against its capture on held-out views.", _eval_arguments, _eval),
    Command("doctor", "Say what runs here, on which backend, and what to do if not.", _doctor_arguments, _doctor),
    Command("demo", "The whole way: capture in; asset, restored and composited flythrough, contact sheet out.", _demo_arguments, _demo),
)
