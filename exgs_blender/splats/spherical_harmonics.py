# SPDX-License-Identifier: GPL-3.0-or-later
"""The real spherical harmonics of 3D Gaussian Splatting: their values, and how they turn.

Order: band 0, 1, 2 ...; within a band l the orders m = -l .. l; with the Condon-Shortley phase (-1)^m, so that band 1 is
proportional to (-y, z, -x), as in the reference code of Kerbl et al. 2023.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

_SAMPLES = 64
"""Directions that a band is fitted on; a band of degree 4 has 9 unknowns."""


def sh_basis(directions: NDArray[np.floating[Any]], degree: int) -> F64:
    """Values of the harmonics.

    Args:
        directions: [N, 3] unit vectors.
        degree: highest band.

    Returns:
        [N, (degree + 1)^2].
    """
    x, y, z = np.asarray(directions, np.float64).T
    columns: dict[tuple[int, int], F64] = {}
    cosine, sine = np.ones_like(x), np.zeros_like(x)  # r^m cos(m phi) and r^m sin(m phi), r the distance from the z axis
    for m in range(degree + 1):
        before, legendre = np.zeros_like(z), np.full_like(z, (-1) ** m * math.prod(range(1, 2 * m, 2)))
        for band in range(m, degree + 1):
            norm = math.sqrt((2 * band + 1) / (4 * math.pi) * math.factorial(band - m) / math.factorial(band + m) * (2 if m else 1))
            columns[band, m] = norm * legendre * cosine
            if m:
                columns[band, -m] = norm * legendre * sine
            before, legendre = legendre, ((2 * band + 1) * z * legendre - (band + m) * before) / (band - m + 1)
        cosine, sine = x * cosine - y * sine, x * sine + y * cosine
    return np.stack([columns[band, m] for band in range(degree + 1) for m in range(-band, band + 1)], axis=1)


def sh_rotations(turn: NDArray[np.floating[Any]], degree: int) -> list[F64]:
    """How coefficients change when a colour function is turned (or mirrored): new = matrix @ old, band by band.

    The turned function has at direction d the value that the old one has at turn^T d; both lie in the same band, so each
    matrix follows exactly from a few directions (to about 1e-14).

    Args:
        turn: [3, 3] orthogonal.
        degree: highest band.

    Returns:
        for band 1 to ``degree`` a matrix [2 l + 1, 2 l + 1].
    """
    # A Fibonacci lattice: evenly spread, so that the fit is well conditioned.
    height = 1 - (2 * np.arange(_SAMPLES) + 1) / _SAMPLES
    angle = np.pi * (1 + math.sqrt(5)) * np.arange(_SAMPLES)
    radius = np.sqrt(1 - height**2)
    directions = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    new, old = sh_basis(directions, degree), sh_basis(directions @ np.asarray(turn, np.float64), degree)
    bands = [slice(band**2, (band + 1) ** 2) for band in range(1, degree + 1)]
    return [np.linalg.pinv(new[:, band]) @ old[:, band] for band in bands]


def sh_signs(degree: int, flips: tuple[int, int, int]) -> NDArray[np.float32]:
    """Signs [K-1] of the coefficients above degree 0 when axes are mirrored.

    Order m of band l: z enters with the parity of l + m, the azimuth as cos(m phi) for m >= 0 and sin(|m| phi) below,
    so y changes the sign for m < 0, and x for odd m >= 0 and even m < 0.

    Args:
        degree: highest band.
        flips: 1 or -1 for x, y, z.
    """
    x, y, z = flips
    signs = [
        z ** ((band + order) % 2) * (y if order < 0 else 1) * x ** ((order + (order < 0)) % 2)
        for band in range(1, degree + 1)
        for order in range(-band, band + 1)
    ]
    return np.array(signs, np.float32)
