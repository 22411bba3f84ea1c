# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the worker's environment: a virtual environment of Blender's own Python, with the locked packages. Standard library only.

Whatever is complete stays: an installation that broke off goes on where it was. The stamp is written last, when every package
was found in its version and imported.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..atomic import atomic_path
from ..errors import ExgsError, FileError
from ..progress import Report, silent
from .environment import STAMP, python_in
from .lock import LOCK, Device, Pin, fingerprint, read_lock, requirements

DOWNLOADS = "downloads"
"""pip's cache inside the environment's folder: what was downloaded whole is not downloaded again after a break."""
POLL_SECONDS = 0.1
FREE_MARGIN = 1.1
STAGES = {"environment": (0.0, 0.04), "packages": (0.04, 0.9), "check": (0.9, 1.0)}
_SIZE = re.compile(r"(?P<verb>Downloading|Using cached) (?P<file>[^/\s]+\.whl) \((?P<size>[\d.]+) (?P<unit>bytes|[kMG]B)\)")
_RAW = re.compile(r"Progress (\d+) of (\d+)")
_UNITS = {"bytes": 1, "kB": 1000, "MB": 1_000_000, "GB": 1_000_000_000}
CHECK = """
import importlib, importlib.metadata, json, sys
problems = []
for name, version, module in json.loads(sys.argv[1]):
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        problems.append(f"{name} is missing")
        continue
    if found.partition("+")[0] != version:
        problems.append(f"{name} is {found}, expected {version}")
    elif module:
        try:
            importlib.import_module(module)
        except BaseException as error:
            problems.append(f"{module} does not start ({type(error).__name__}: {error})")
print(json.dumps(problems))
"""


def install(
    folder: str,
    device: Device = "cpu",
    bundle: str = "",
    extra_index: str = "",
    download_mb: int = 0,
    disk_mb: int = 0,
    lock: str = "",
    report: Report = silent,
) -> dict[str, Any]:
    """Make, continue or renew the environment in ``folder``. Returns its interpreter and versions.

    Args:
        device: what the packages are chosen for.
        bundle: folder of wheels to take instead of the network.
        extra_index: a second package index (address or folder of wheels), e.g. one that has torch without CUDA.
        download_mb: what the downloads come to, for the progress; 0 where it is not known.
        disk_mb: room that the environment takes when it is finished.
        lock: another list of packages.

    Raises:
        CancelledError: what is complete stays, without a stamp.
        ExgsError: one line; the folder keeps what is complete.
    """
    pins = read_lock(Path(lock) if lock else LOCK, device)
    home = Path(folder)
    if bundle:
        check_bundle(Path(bundle))
    _check_space(home, download_mb + disk_mb)
    (home / STAMP).unlink(missing_ok=True)  # from here on it is not whole
    python = _environment(home, _within("environment", report))
    _packages(home, python, pins, bundle, extra_index, download_mb, _within("packages", report))
    _check(python, pins, _within("check", report))
    stamp = {"lock": fingerprint(pins), "device": device, "base": sys.executable, "packages": {pin.name: pin.version for pin in pins}}
    with atomic_path(home / STAMP) as part:
        part.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    shutil.rmtree(home / DOWNLOADS, ignore_errors=True)
    report("ready", 1.0)
    return {"python": str(python), **stamp}


def check_bundle(bundle: Path) -> None:
    """Every wheel of an offline bundle must be whole.

    Raises:
        FileError: no such folder, no wheels in it, or one that is not whole.
    """
    wheels = sorted(bundle.glob("*.whl")) if bundle.is_dir() else []
    if not wheels:
        raise FileError(bundle, "not a folder with wheels", "Choose the folder that 'pip download' filled, or unpack the bundle first")
    for wheel in wheels:
        if not zipfile.is_zipfile(wheel):
            raise FileError(wheel, "this wheel of the bundle is not whole", "Copy the bundle again")


def _check_space(home: Path, megabytes: int) -> None:
    near = next(folder for folder in (home, *home.parents) if folder.is_dir())
    free, needed = shutil.disk_usage(near).free / 1e6, megabytes * FREE_MARGIN
    needed -= sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) / 1e6  # of an installation that goes on
    if free < needed:
        raise ExgsError(f"{near} has {free:,.0f} MB of free space, the worker needs {needed:,.0f} MB there; make room and go on")


def _environment(home: Path, report: Report) -> Path:
    """The interpreter in ``home``; a new environment where there is none that starts."""
    report("making the environment", 0.0)
    python = python_in(home)
    if python.is_file() and subprocess.run([str(python), "-I", "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return python
    for name in ("bin", "lib", "lib64", "include", "Scripts", "Lib", "Include", "pyvenv.cfg"):  # of one that does not start any more
        _remove(home / name)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(home, f"cannot be made ({error.strerror})", "Check the permissions of the folder above it") from error
    tail = _run([sys.executable, "-I", "-m", "venv", str(home)], lambda _: report("making the environment", 0.5))
    if not python.is_file():
        words = " ".join(tail)[-300:]
        advice = "install the system's package python3-venv" if "ensurepip" in words else "see the log"
        raise ExgsError(f"{sys.executable} could not make an environment in {home}: {words}; {advice}")
    return python


def _packages(home: Path, python: Path, pins: tuple[Pin, ...], bundle: str, extra_index: str, megabytes: int, report: Report) -> None:
    """Let pip install the locked packages; only ready-made ones, nothing is ever compiled here."""
    listed = home / "requirements.txt"
    listed.write_text(requirements(pins), encoding="utf-8")
    pip = [str(python), "-I", "-m", "pip"]
    options = ["--disable-pip-version-check", "--no-input", "--only-binary=:all:", "--cache-dir", str(home / DOWNLOADS)]
    if bundle:
        pip += ["--isolated"]
        options += ["--no-index", "--find-links", bundle]
    elif extra_index:
        options += ["--find-links" if Path(extra_index).is_dir() else "--extra-index-url", extra_index]
    if _knows_raw_progress(python):
        options += ["--progress-bar", "raw"]
    heard = _Pip(megabytes * 1e6, len(pins), report)
    code, tail = _run_for_code([*pip, "install", *options, "-r", str(listed)], heard)
    if code != 0:
        raise ExgsError(_why(tail, bundle))


def _knows_raw_progress(python: Path) -> bool:
    """pip from 24.1 on tells the bytes of a download to programs."""
    done = subprocess.run([str(python), "-I", "-m", "pip", "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"pip (\d+)\.(\d+)", done.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= (24, 1)


class _Pip:
    """Listens to pip: bytes where their sum is known, else packages."""

    def __init__(self, total: float, count: int, report: Report) -> None:
        self._total, self._count, self._report = total, count, report
        self._whole = self._part = 0.0
        self._file_size = 0.0
        self._collected = 0
        self._stage = "looking up packages"
        self._installing = False

    def __call__(self, line: str | None) -> None:
        if line is not None:
            self._hear(line)
        done = (self._whole + self._part) / self._total if self._total else self._collected / max(self._count, 1)
        self._report(self._stage, 0.95 if self._installing else 0.85 * min(done, 1.0))

    def _hear(self, line: str) -> None:
        if found := _RAW.match(line.strip()):
            self._part = float(found[1])
        elif found := _SIZE.search(line):
            self._whole += self._file_size
            self._file_size, self._part = float(found["size"]) * _UNITS[found["unit"]], 0.0
            name = found["file"].partition("-")[0]
            self._stage = f"{'downloading' if found['verb'] == 'Downloading' else 'taking'} {name} ({found['size']} {found['unit']})"
        elif line.startswith(("Collecting ", "Processing ")):
            self._collected += 1
            if not self._total:
                self._stage = f"collecting {re.split('[=<> (]', Path(line.split()[1]).name)[0].partition('-')[0]}"
        elif line.startswith("Installing collected packages"):
            self._installing, self._stage = True, "unpacking"


def _why(tail: list[str], bundle: str) -> str:
    """pip's last words in one line, with what to do."""
    text = "\n".join(tail)
    if found := re.search(r"No matching distribution found for (\S+)", text):
        version = f"Python {sys.version_info.major}.{sys.version_info.minor} on {sys.platform}"
        where = f"the bundle {bundle} lacks" if bundle else "the package index has no ready-made"
        advice = "make the bundle with this Python version on such a system" if bundle else "check the connection and the index"
        return f"{where} {found[1].rstrip(';')} for {version}; {advice}"
    errors = [line for line in tail if line.startswith("ERROR")] or tail
    words = errors[-1].removeprefix("ERROR: ").strip()[:300] if errors else "pip ended without a word"
    if any(word in text for word in ("Connection", "timed out", "Temporary failure", "NewConnectionError")):
        return f"the connection broke ({words}); start again, what is complete is kept"
    return f"{words}; start again, what is complete is kept"


def _check(python: Path, pins: tuple[Pin, ...], report: Report) -> None:
    report("checking", 0.0)
    wanted = json.dumps([[pin.name, pin.version, pin.module] for pin in pins])
    code, tail = _run_for_code([str(python), "-I", "-c", CHECK, wanted], lambda _: report("checking", 0.5))
    try:
        problems = json.loads(tail[-1]) if tail else [f"the check ended with {code}"]
    except json.JSONDecodeError:
        problems = [tail[-1]]
    if code != 0 or problems:
        raise ExgsError(f"installed, but it does not work: {'; '.join(map(str, problems))[:300] or f'exit code {code}'}; start again")


def _run(command: list[str], hear: Callable[[str | None], None]) -> list[str]:
    return _run_for_code(command, hear)[1]


def _run_for_code(command: list[str], hear: Callable[[str | None], None]) -> tuple[int, list[str]]:
    """Run a program; ``hear`` gets each line, and None when nothing came for a while. Where it raises, the program is ended."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_NO_COLOR": "1"}
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, creationflags=flags
    )
    tail: list[str] = []
    try:
        for line in _lines(process):
            if line is not None:
                print(line, file=sys.stderr)  # the log
                tail = [*tail[-40:], line] if not _RAW.match(line) else tail
            hear(line)
        return process.wait(), tail
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str | None]:
    """A program's lines as they come, None ten times a second while none comes."""
    arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    stream = process.stdout
    assert stream is not None

    def read() -> None:
        for line in stream:
            arrived.put(line.decode("utf-8", "replace").rstrip())
        arrived.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = arrived.get(timeout=POLL_SECONDS)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield line


def _within(stage: str, report: Report) -> Report:
    """A part's progress as progress of the whole; the words stay."""
    first, last = STAGES[stage]
    return lambda words, fraction: report(words, first + (last - first) * fraction)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_environment(folder: Path) -> None:
    """Delete an environment, whole or not. Its stamp goes first, so that a break leaves nothing that looks whole."""
    (folder / STAMP).unlink(missing_ok=True)
    deadline = time.monotonic() + 5
    while folder.exists() and time.monotonic() < deadline:  # Windows holds files of a process that just ended
        shutil.rmtree(folder, ignore_errors=True)
