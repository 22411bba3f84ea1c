# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line shows while it works: bars on a terminal, lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Literal, Self

from ..worker.protocol import Done, Failed, Progress, encode

ProgressStyle = Literal["auto", "json", "none"]


class Terminal:
    """A progress listener and the printer of results. Progress goes to stderr, results to stdout; JSON all to stdout."""

    def __init__(self, style: ProgressStyle) -> None:
        self.style = style
        self._stage = ""
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def report(self, stage: str, fraction: float) -> None:
        """A ``progress.Report``."""
        if self.style == "json":
            print(encode(Progress(stage, fraction)), flush=True)
        elif self.style == "auto":
            self._draw(stage, fraction)

    def _draw(self, stage: str, fraction: float) -> None:
        if stage != self._stage:
            self._close()
            self._stage = stage
            if sys.stderr.isatty():
                from tqdm import tqdm

                layout = "  {desc:<18} {percentage:3.0f}% |{bar}| {elapsed}"
                self._bar = tqdm(total=1.0, desc=stage, bar_format=layout, dynamic_ncols=True, leave=True)
            else:
                print(f"  {stage} ...", file=sys.stderr, flush=True)
        if self._bar is not None:
            self._bar.n = min(fraction, 1.0)
            self._bar.refresh()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str = "") -> None:
        """A line for a person; programs get the result instead."""
        if self.style != "json":
            self._close()
            self._stage = ""
            print(text, flush=True)

    def result(self, values: dict[str, Any], lines: list[str]) -> None:
        """The end: lines for a person, the values for a program."""
        self._close()
        if self.style == "json":
            print(encode(Done(values)), flush=True)
        else:
            print("\n".join(lines), flush=True)

    def failed(self, message: str, kind: str, cancelled: bool = False) -> None:
        """The end, badly: one line."""
        self._close()
        if self.style == "json":
            print(encode(Failed(message, kind, cancelled)), flush=True)
        print(f"exgs: {'cancelled' if cancelled else message}", file=sys.stderr, flush=True)


def megabytes(count: float) -> str:
    """Bytes in the unit that artists know, with enough digits to compare."""
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
