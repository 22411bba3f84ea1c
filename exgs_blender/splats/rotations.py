# SPDX-License-Identifier: GPL-3.0-or-later
"""Quaternions wxyz <-> rotation matrices, in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def matrices_from_quats(quats: NDArray[np.floating[Any]]) -> F64:
    """[N, 4] wxyz, any length -> [N, 3, 3] rotations; a zero quaternion is the identity."""
    norm = np.linalg.norm(quats, axis=1, keepdims=True).astype(np.float64)
    w, x, y, z = np.where(norm > 0, quats / np.where(norm > 0, norm, 1.0), [1.0, 0.0, 0.0, 0.0]).T
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    rows += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    rows += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return np.stack(rows, axis=1).reshape(-1, 3, 3)


def quats_from_matrices(matrices: F64) -> F64:
    """Unit quaternions wxyz [N, 4] of rotation matrices [N, 3, 3].

    Row i of the 4 x 4 table is 4 q_i q; the row with the largest diagonal entry is taken, so that nothing small is divided by.
    """
    m = matrices
    trace = np.trace(m, axis1=1, axis2=2)
    table = np.empty((len(m), 4, 4))
    table[:, 0, 0] = 1 + trace
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        table[:, i + 1, i + 1] = 1 + 2 * m[:, i, i] - trace
        table[:, 0, i + 1] = table[:, i + 1, 0] = m[:, k, j] - m[:, j, k]
        table[:, j + 1, k + 1] = table[:, k + 1, j + 1] = m[:, j, k] + m[:, k, j]
    best = np.argmax(np.diagonal(table, axis1=1, axis2=2), axis=1)
    quats = table[np.arange(len(m)), best]
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)
