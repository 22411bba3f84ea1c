# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the Blender extension: ``python vendor_wheels/build.py`` writes ``dist/exgs_blender-VERSION.zip``.

Fetches the bundled wheels by hash, stages the package flat beside its manifest, as Blender wants it, and lets
Blender's own builder zip and validate it. The builder is part of every Blender and of the bpy wheel; one that this
Python has is found by itself, another is named with ``--builder``. Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / "vendor_wheels"
LOCK = WHEELS / "requirements.lock"
BUILDER = "scripts/addons_core/bl_pkg/cli/blender_ext.py"


def main() -> int:
    parser = argparse.ArgumentParser(description="Build and validate the Blender extension.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the zip (default: dist)")
    parser.add_argument("--builder", type=Path, help=f"Blender's {BUILDER} (default: the one of the bpy module here)")
    options = parser.parse_args()
    try:
        target = build(options.output, options.builder or find_builder())
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB)")
    return 0


def build(output: Path, builder: Path) -> Path:
    """Stage, build and validate; returns the zip."""
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{manifest['id']}-{manifest['version']}.zip"
    fetch_wheels([Path(name).name for name in manifest["wheels"]])
    with tempfile.TemporaryDirectory(prefix="exgs-build-") as folder:
        stage = Path(folder) / "stage"
        shutil.copytree(ROOT / "exgs_blender", stage, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        shutil.copy(ROOT / "blender_manifest.toml", stage)
        shutil.copy(ROOT / "LICENSE", stage)
        (stage / "vendor_wheels").mkdir()
        for name in manifest["wheels"]:
            shutil.copy(ROOT / name, stage / name)
        part = Path(folder) / target.name
        run_builder(builder, "build", "--source-dir", str(stage), "--output-filepath", str(part))
        run_builder(builder, "validate", str(part))
        shutil.move(part, target)
    return target


def fetch_wheels(names: list[str]) -> None:
    """Have exactly the locked wheels in ``vendor_wheels``; what is there already is checked, not fetched again."""
    hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", LOCK.read_text(encoding="utf-8")))
    if not all((WHEELS / name).is_file() for name in names):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        subprocess.run([*command, "--requirement", str(LOCK), "--dest", str(WHEELS)], check=True)
    for name in names:
        if hashlib.sha256((WHEELS / name).read_bytes()).hexdigest() not in hashes:
            raise ValueError(f"{WHEELS / name}: not the wheel of {LOCK.name}; delete it and build again")


def find_builder() -> Path:
    """The builder inside the bpy module of this Python (bpy itself is not imported)."""
    spec = importlib.util.find_spec("bpy")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for candidate in sorted(Path(folder).glob(f"*/{BUILDER}")):
            return candidate
    raise FileNotFoundError("no Blender builder: run this with a Python that has bpy, or name Blender's blender_ext.py with --builder")


def run_builder(builder: Path, *arguments: str) -> None:
    """One command of Blender's extension tool; its words are shown only if it fails."""
    done = subprocess.run([sys.executable, str(builder), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0 or "error" in done.stdout.lower().split():
        raise ValueError(f"Blender's builder refused: {arguments[0]}: {(done.stdout + done.stderr).strip()}")


if __name__ == "__main__":
    sys.exit(main())
