# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations as three components: the largest of the four is made positive, left out, and follows from unit length."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..splats.activation import unit_quats
from ..splats.gaussians import F32

SQRT2 = np.float32(np.sqrt(2.0))

OTHERS = np.array([[i for i in range(4) if i != left_out] for left_out in range(4)])
"""[4, 3] which components stay, in order, when one is left out."""


def largest_and_rest(quats: F32) -> tuple[NDArray[np.intp], F32]:
    """[N, 4] of any length and order -> index of the largest component [N], the three others [N, 3] within +-1 / sqrt(2)."""
    unit = unit_quats(quats)
    largest = np.abs(unit).argmax(axis=1)
    rows = np.arange(len(unit))
    sign = np.where(unit[rows, largest] < 0, np.float32(-1), np.float32(1))
    rest: F32 = unit[rows[:, None], OTHERS[largest]] * sign[:, None]
    return largest, rest


def from_largest_and_rest(largest: NDArray[np.integer[Any]], rest: F32) -> F32:
    """The inverse: unit quaternions [N, 4] in the order that the indices mean; the largest component is not negative."""
    quats = np.empty((len(rest), 4), np.float32)
    for index in range(4):
        rows = np.flatnonzero(largest == index)
        three = rest[rows]
        quats[rows[:, None], OTHERS[index]] = three
        quats[rows, index] = np.sqrt(np.maximum(0, 1 - np.square(three).sum(axis=1)))
    return quats
