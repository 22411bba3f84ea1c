# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker process seen from outside: lines in, lines out, signal, kill. Standard library only.

Shared by the one-shot jobs and the render server.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from ..errors import ExgsError
from ..threads import sleep_while_waiting

LAUNCHER = Path(__file__).with_name("launch.py")
LOG_TAIL_LINES = 5


class WorkerProcess:
    """Starts ``launch.py`` in another Python and keeps its pipes.

    Args:
        kind: "job" or "server".
        python: interpreter of the worker's environment.
        log_dir: where the log (the worker's stderr) goes; a temporary folder by default.

    Raises:
        ExgsError: the interpreter cannot be started.
    """

    def __init__(self, kind: str, python: Path, log_dir: Path | None = None) -> None:
        folder = log_dir or Path(tempfile.gettempdir()) / "exgs-logs"
        folder.mkdir(parents=True, exist_ok=True)
        self.log_path = folder / f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{id(self):x}.log"
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONHOME", "PYTHONPATH"))}
        environment.setdefault("HF_HUB_OFFLINE", "1")
        sleep_while_waiting(environment)
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            with self.log_path.open("wb") as log:
                self._process = subprocess.Popen(
                    [str(python), "-I", str(LAUNCHER), kind],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    creationflags=flags,
                )
        except OSError as error:
            raise ExgsError(
                f"the worker's Python {python} cannot be started ({error.strerror}); check the preference or EXGS_PYTHON"
            ) from error
        self.pid = self._process.pid
        threading.Thread(target=self._read, name=f"exgs-{kind}-{self.pid}", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.decode("utf-8", "replace").rstrip("\n"))
        self._lines.put(None)

    def send(self, line: str) -> bool:
        """Write one line to the worker's stdin; False where it no longer listens."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def receive(self, timeout: float | None = None) -> str | None:
        """The next line.

        Args:
            timeout: seconds; 0 does not wait.

        Raises:
            queue.Empty: none has come yet.
            EOFError: the worker has closed its stdout: it is gone or about to be.
        """
        line = self._lines.get(timeout=timeout) if timeout else self._lines.get_nowait()
        if line is None:
            self._lines.put(None)
            raise EOFError
        return line

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask_to_stop(self) -> None:
        """The polite way: a ``cancel`` line and, where signals are delivered, SIGTERM."""
        self.send("cancel")
        if sys.platform != "win32" and self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        self._process.wait(10)

    def close(self) -> None:
        """Close the pipes (a server ends on that), wait shortly, then kill."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self.kill()

    def epitaph(self) -> str:
        """Why a process that is gone is gone: exit code or signal, and the last words of its log."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return f"the worker closed its output but still runs; log: {self.log_path}"
        if code < 0:
            cause = f"was ended by signal {signal.Signals(-code).name}"
            if -code == getattr(signal, "SIGKILL", 9):
                cause += " (killed from outside, or out of memory)"
        else:
            cause = f"ended with exit code {code}"
        last = [line for line in self.log_path.read_text(errors="replace").splitlines() if line.strip()][-1:]
        words = f": {last[0].strip()[:200]}" if last else ""
        return f"the worker {cause}{words}; log: {self.log_path}"
