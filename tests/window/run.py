# SPDX-License-Identifier: GPL-3.0-or-later
"""Visit a real Blender's window: ``BLENDER=/path/to/blender python -m tests.window.run FOLDER [--capture FILE]``.

Builds the zip, starts Blender with a user folder of its own (on a virtual screen where there is none), lets ``visit.py`` do what
a user does, and leaves a screenshot of each step in FOLDER, and ``facts.json``. Needs Xvfb unless there is a display, and
ImageMagick's ``import`` for screenshots of a virtual screen. EXGS_PYTHON names the worker's Python; without it the steps that need
a worker are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VISIT = Path(__file__).with_name("visit.py")
CAPTURE = Path(os.environ.get("EXGS_DATA", ROOT.parent / "shared" / "data")) / "scenes" / "biker.spz"
SCREEN = (1280, 800)
PICTURES = ("material", "rendered", "compressed", "composite window")
"""Screenshots that the documentation shows."""
TIMEOUT_SECONDS = 900


def missing() -> str:
    """Why no window can be visited here; empty where one can."""
    named = os.environ.get("BLENDER")
    if not named:
        return "BLENDER names no Blender"
    if shutil.which(named) is None:
        return f"BLENDER={named} is not a program"
    if not os.environ.get("DISPLAY") and shutil.which("Xvfb") is None:
        return "there is no display, and no Xvfb to make one"
    return ""


def visit(folder: Path, capture: Path, script: Path = VISIT, timeout: float = TIMEOUT_SECONDS) -> dict[str, Any]:
    """Run a script in the window; returns its facts.

    Raises:
        RuntimeError: Blender ended without facts; the end of its log is in the message.
    """
    folder = folder.resolve()
    (folder / "user").mkdir(parents=True, exist_ok=True)
    worker = os.environ.get("EXGS_PYTHON", "")
    request = {"folder": str(folder), "zip": str(_built(folder)), "capture": str(capture.resolve()), "worker": bool(worker)}
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    facts, log = folder / "facts.json", folder / "blender.log"
    facts.unlink(missing_ok=True)
    geometry = ["--window-geometry", "0", "0", *map(str, SCREEN)]
    command = [os.environ["BLENDER"], "--factory-startup", *geometry, "--python", str(script)]
    with _display() as display, log.open("w") as out:
        variables = {
            **os.environ,
            "DISPLAY": display,
            "BLENDER_USER_RESOURCES": str(folder / "user"),
            "EXGS_WINDOW_REQUEST": str(folder / "request.json"),
        }
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=variables, timeout=timeout, check=False)
    shutil.rmtree(folder / "user", ignore_errors=True)
    if not facts.is_file():
        raise RuntimeError(f"Blender left no facts; its log ends\n{log.read_text(errors='replace')[-3000:]}")
    return dict(json.loads(facts.read_text(encoding="utf-8")))


def _built(folder: Path) -> Path:
    """The zip that a user installs."""
    build = [sys.executable, str(ROOT / "vendor_wheels" / "build.py"), "--output", str(folder)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return max(folder.glob("exgs_blender-*.zip"), key=lambda path: path.stat().st_mtime)


@contextlib.contextmanager
def _display() -> Iterator[str]:
    """The display that there is, or a virtual one for as long as it is needed."""
    if os.environ.get("DISPLAY"):
        yield os.environ["DISPLAY"]
        return
    reading, writing = os.pipe()
    screen = "x".join(map(str, (*SCREEN, 24)))
    server = subprocess.Popen(["Xvfb", "-displayfd", str(writing), "-screen", "0", screen], pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait(10)


def write_pictures(folder: Path, target: Path) -> None:
    """Smaller JPEGs of the screenshots that the documentation shows."""
    from PIL import Image

    target.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        file = name.replace(" ", "_")
        with Image.open(folder / f"{file}.png") as image:
            image.convert("RGB").resize((960, 600), Image.Resampling.LANCZOS).save(target / f"{file}.jpg", quality=82)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the screenshots go")
    parser.add_argument("--capture", type=Path, default=CAPTURE)
    parser.add_argument("--pictures", type=Path, help="where smaller pictures for the documentation go")
    options = parser.parse_args()
    if reason := missing():
        print(f"not run: {reason}", file=sys.stderr)
        return 1
    facts = visit(options.folder, options.capture)
    print(json.dumps(facts, indent=1))
    if options.pictures and facts.get("finished"):
        write_pictures(options.folder, options.pictures)
    return 0 if facts.get("finished") else 1


if __name__ == "__main__":
    sys.exit(main())
