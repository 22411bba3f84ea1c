# SPDX-License-Identifier: GPL-3.0-or-later
"""What both of the painter's benchmarks are told."""

from __future__ import annotations

import argparse
from pathlib import Path

from exgs_blender.painter import default_weights

from .scenes import HELD_OUT


def options(prog: str, description: str | None) -> argparse.Namespace:
    """scenes, weights, device, pictures and record of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="*", default=list(HELD_OUT))
    parser.add_argument("--weights", type=Path, default=default_weights(), metavar="FOLDER")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    parser.add_argument("--record", action="store_true")
    return parser.parse_args()
