# SPDX-License-Identifier: GPL-3.0-or-later
"""How many splats this machine draws fluidly. Standard library only."""

from __future__ import annotations

SMOOTHING = 0.3
FEWEST = 20_000
STEP = 1.25
"""A budget moves in steps of this factor, so that it does not change with every frame."""


class Pace:
    """Learns from measured frames how many splats fit into a frame while the view moves.

    Args:
        seconds: what a frame may take while navigating.
    """

    def __init__(self, seconds: float = 1 / 25) -> None:
        self._seconds = seconds
        self._per_splat: float | None = None
        self._budget: int | None = None

    def measured(self, splats: int, seconds: float) -> None:
        """A frame of so many splats took so long."""
        if splats < FEWEST // 2:
            return
        found = seconds / splats
        self._per_splat = found if self._per_splat is None else (1 - SMOOTHING) * self._per_splat + SMOOTHING * found

    def budget(self, most: int) -> int:
        """Splats to draw while the view moves; ``most`` is the user's limit."""
        if self._per_splat is None or self._per_splat <= 0:
            return most
        wanted = max(int(self._seconds / self._per_splat), FEWEST)
        if self._budget is None or not self._budget / STEP < wanted < self._budget * STEP:
            self._budget = wanted
        return min(self._budget, most)
