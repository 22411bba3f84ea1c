# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled loops where numba is; without it everything runs on numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

COMPILED_FROM = 50_000
"""Gaussians from which on numba and threads are worth their start."""
THREADS = 4


def kernels_for(count: int) -> Any:
    """``decode_kernels`` where numba is and ``count`` Gaussians are worth it, else None."""
    if count < COMPILED_FROM:
        return None
    try:
        from . import decode_kernels
    except ImportError:
        return None
    return decode_kernels


def in_slices(work: Callable[[slice], None], count: int) -> None:
    """Call ``work`` on slices of ``count`` elements; large ones side by side."""
    bounds = [i * count // THREADS for i in range(THREADS + 1)] if count >= COMPILED_FROM else [0, count]
    side_by_side(work, [slice(a, b) for a, b in pairwise(bounds)], count)


def side_by_side(work: Callable[[slice], None], parts: Sequence[slice], count: int) -> None:
    """Call ``work`` on parts of ``count`` elements, in threads where they are many (numpy works outside the interpreter's lock)."""
    if count < COMPILED_FROM:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, parts))
