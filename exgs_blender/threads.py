# SPDX-License-Identifier: GPL-3.0-or-later
"""How the threads of numba and torch wait for each other."""

from __future__ import annotations

import os
from collections.abc import MutableMapping


def sleep_while_waiting(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let OpenMP's idle threads sleep instead of spinning; takes effect where OpenMP is not loaded yet.

    By default they spin for milliseconds after every parallel loop. That saves microseconds on an idle machine and costs most of the
    time on a busy one (Blender rendering beside the worker, numba's threads beside torch's): fitting a restoration with both
    cores taken took 10 to 24 s spinning and 3 to 5 s sleeping. A policy that the user has set stays.
    """
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
