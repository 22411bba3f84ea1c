# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line ``exgs``."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import signal
import sys
import traceback
from typing import NoReturn

from ..errors import CancelledError, ExgsError
from ..threads import sleep_while_waiting
from .commands import COMMANDS
from .terminal import Terminal

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANCELLED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="exgs", description="Compress, render and restore 3D Gaussian Splatting captures.")
    parser.add_argument("--version", action="version", version=f"exgs {importlib.metadata.version('exgs-blender')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.help, description=command.help)
        sub.add_argument("--progress", choices=("auto", "json", "none"), default="auto", help="bars, JSON lines for programs, or nothing")
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.arguments(sub)
        sub.set_defaults(run=command.run)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 cancelled."""
    sleep_while_waiting()
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.debug else logging.WARNING, stream=sys.stderr)
    signal.signal(signal.SIGTERM, _interrupt)
    with Terminal(options.progress) as terminal:
        try:
            options.run(options, terminal)
        except (CancelledError, KeyboardInterrupt) as error:
            terminal.failed(str(error) or "cancelled", "CancelledError", cancelled=True)
            return EXIT_CANCELLED
        except BrokenPipeError:  # whoever read what we print has seen enough, as "head" does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_FAILED
        except ExgsError as error:
            if options.debug:
                traceback.print_exc()
            terminal.failed(str(error), type(error).__name__)
            return EXIT_FAILED
        except Exception as error:  # a bug: keep the traceback, still end in one line
            traceback.print_exc()
            terminal.failed(f"unexpected {type(error).__name__}: {error}", type(error).__name__)
            return EXIT_FAILED
    return 0


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
