# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's own end of the pipes: protocol on stdout, everything else to the log, cancel by line, signal or end of input."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from typing import TextIO

from ..errors import CancelledError

ORPHAN_GRACE_SECONDS = 20.0


class Channel:
    """Claims stdin and stdout.

    Whatever a library prints goes to stderr: file descriptor 1 is redirected there, the protocol keeps a
    private copy. Lines from stdin arrive in :attr:`lines` (None at the end of input).
    """

    def __init__(self) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self.lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._cancel = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._cancel.set())
        signal.signal(signal.SIGINT, lambda *_: self._cancel.set())
        threading.Thread(target=self._read, name="exgs-stdin", daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            if line.strip() == "cancel":
                self._cancel.set()
            else:
                # Requests come one at a time, so a cancel that is still set was meant for an earlier one.
                self._cancel.clear()
                self.lines.put(line)
        self.lines.put(None)
        # The client is gone: stop at the next progress report, and for certain soon after.
        self._cancel.set()
        time.sleep(ORPHAN_GRACE_SECONDS)
        os._exit(1)

    def write(self, line: str) -> None:
        """One protocol line."""
        self._out.write(line + "\n")

    @property
    def cancelled(self) -> bool:
        return self._cancel.is_set()

    def check_cancelled(self) -> None:
        """Raises CancelledError where the client asked to stop."""
        if self.cancelled:
            raise CancelledError()
