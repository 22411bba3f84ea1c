#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two commands: ``python3.11 run.py demo [FILE]`` and ``python3.11 run.py test``.

Makes the environment in ``.venv`` the first time (needs Python 3.11 and a package index), then goes on.
``setup`` stops after that; anything else is handed to the ``exgs`` command line.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
MAIN = ROOT / ".venv"
SECOND = ROOT / ".venv-py313"
SECOND_PACKAGES = ["bpy==5.2.3", "plyfile>=1.0"]
MATRIX = {"bpy-4.2": ["bpy==4.2.23", "numpy<2", "plyfile>=1.0"], "bpy-5.0": ["bpy==5.0.1", "numpy<2", "plyfile>=1.0"]}
NEWEST = {"bpy-5.3": ["bpy==5.3.0", "plyfile>=1.0"]}
"""Blender versions that the matrix adds to 4.5 and 5.2: in Python 3.11, and in 3.13. Nothing of the worker is installed beside them."""
USAGE = "usage: python3.11 run.py demo [FILE] | test [PYTEST ARGUMENTS] | matrix [PYTEST ARGUMENTS] | setup | any 'exgs' command"


def python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(folder: Path, interpreter: str, packages: list[str]) -> Path:
    """Make or refresh a virtual environment; a stamp tells whether it still fits."""
    wanted = hashlib.sha256(("\n".join(packages) + (ROOT / "pyproject.toml").read_text()).encode()).hexdigest()
    stamp = folder / "exgs-stamp"
    python = python_in(folder)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"ExGS: preparing {folder.name} (the first time this takes some minutes) ...", flush=True)
    if interpreter == sys.executable:
        venv.create(folder, with_pip=True)
    else:
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True, cwd=ROOT)
    stamp.write_text(wanted)
    return python


def warm_up(python: Path) -> None:
    """Compile all of ExGS's kernels once, so that neither the first frame nor the first compression waits for them."""
    stamp = MAIN / "exgs-warm"
    sources = sorted(path for folder in ("render", "ugc") for path in (ROOT / "exgs_blender" / folder).glob("*.py"))
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print("ExGS: compiling the kernels of renderer and compressor (once, a minute or two) ...", flush=True)
        code = "from exgs_blender.worker.warm_up import warm_up; warm_up()"
        if subprocess.run([str(python), "-c", code], cwd=ROOT, check=False).returncode == 0:
            stamp.write_text(wanted)


def python_313() -> str | None:
    """An interpreter of version 3.13, on the path or kept by pyenv."""
    candidates = [shutil.which("python3.13")]
    if pyenv := shutil.which("pyenv"):
        found = subprocess.run([pyenv, "prefix", "3.13"], capture_output=True, text=True, check=False)
        candidates.append(str(Path(found.stdout.strip()) / "bin" / "python3.13") if found.returncode == 0 else None)
    for candidate in candidates:
        if candidate:
            probe = subprocess.run(
                [candidate, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=False
            )
            if probe.stdout.strip() == "(3, 13)":
                return candidate
    return None


def second_blender() -> str:
    """The Python that holds Blender 5.2 for the tests, or nothing where Python 3.13 is absent."""
    interpreter = python_313()
    if interpreter is None:
        print("ExGS: no Python 3.13 here, the tests run with one Blender only")
        return ""
    try:
        return str(install(SECOND, interpreter, SECOND_PACKAGES))
    except subprocess.CalledProcessError as error:
        print(f"ExGS: Blender 5.2 could not be installed ({error}); the tests run with one Blender only")
        return ""


def blenders(every: bool) -> str:
    """The other Pythons that hold a Blender, as the tests' variable lists them: 5.2, and for the matrix 4.2, 5.0 and 5.3 too."""
    found = [second_blender()]
    interpreters = ((MATRIX, sys.executable), (NEWEST, python_313())) if every else ()
    for name, packages, interpreter in ((name, packages, python) for wanted, python in interpreters for name, packages in wanted.items()):
        if interpreter is None:
            continue
        try:
            found.append(str(install(ROOT / f".venv-{name}", interpreter, packages)))
        except subprocess.CalledProcessError as error:
            print(f"ExGS: {name} could not be installed ({error}); the matrix goes without it")
    return os.pathsep.join(python for python in found if python)


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if sys.version_info[:2] != (3, 11):
        print(
            f"ExGS: this is Python {sys.version.split()[0]}; run it with Python 3.11 (the version of Blender 4.5's module)", file=sys.stderr
        )
        return 2
    try:
        python = install(MAIN, sys.executable, ["-e", ".[worker,blender,test]"])
    except subprocess.CalledProcessError as error:
        print(f"ExGS: the environment could not be made ({error}); see pip's message above", file=sys.stderr)
        return 1
    warm_up(python)
    environment = {**os.environ, "EXGS_PYTHON": str(python)}
    command, rest = arguments[0], arguments[1:]
    if command == "setup":
        print(f"ExGS: ready; the worker's Python is {python}")
        return 0
    if command in ("test", "matrix"):
        environment["EXGS_BLENDER_PYTHONS"] = blenders(every=command == "matrix")
        rest = rest or (["tests/blender"] if command == "matrix" else [])
        return subprocess.run([str(python), "-m", "pytest", *rest], cwd=ROOT, env=environment, check=False).returncode
    return subprocess.run([str(python), "-m", "exgs_blender.cli", command, *rest], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
