# SPDX-License-Identifier: GPL-3.0-or-later
"""Higher spherical harmonics <-> a few rounded components in a basis made for the cloud.

Most of a view-dependent colour is noise of training: the components are rounded where a bit buys most (rate-distortion
optimised quantisation, as in video coders), so that most of them are 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..splats.gaussians import F32

I32 = NDArray[np.signedinteger[Any]]
I64 = NDArray[np.int64]
I8 = NDArray[np.int8]

BASIS_ONE = 127
WEIGHT_POWER, WEIGHT_CAP = 0.7, 0.99
PASSES = 2
BLOCK = 1 << 15
"""Gaussians whose coefficients are turned into components at a time."""
BLOCK_PRODUCTS = 1 << 18
"""Multiplications in one call of BLAS: few enough that it stays in the cache and starts no threads of its own."""


def components_of(shN: F32, order: I64, step: float, trade: float, weight: F32 | None) -> tuple[I32, I8]:
    """Rounded components [N, M] (int16 or int32) and their basis [M, 3 (K - 1)] int8; rows stand for unit vectors.

    Args:
        shN: [N, K - 1, 3].
        order: [N] which row of ``shN`` each row of the result is of.
        step: of the components, raw units.
        trade: squared steps that a bit is worth; 0 rounds to the nearest.
        weight: [N] how much of the image each Gaussian of the result is; errors of the heavy ones count more.
    """
    flat = shN.reshape(len(shN), shN.shape[1] * 3)
    if flat.size == 0 or not flat.any():
        return np.zeros((len(shN), 0), np.int32), np.zeros((0, flat.shape[1]), np.int8)
    importance = _importance(weight, len(flat))
    blocks = [slice(start, start + BLOCK) for start in range(0, len(flat), BLOCK)]
    moments = np.zeros((flat.shape[1], flat.shape[1]))
    for block in blocks:
        rows = flat[order[block]].astype(np.float64)
        moments += (rows * importance[block, None]).T @ rows
    basis = np.linalg.eigh(moments)[1][:, ::-1].T
    basis = np.rint(basis * (BASIS_ONE / np.abs(basis).max(axis=1, keepdims=True))).astype(np.int8)
    while True:
        back = (np.linalg.pinv(unit_rows(basis)) / step).astype(np.float32)
        products = ((block, (flat[order[block]] @ back).T) for block in blocks)
        shape = (len(basis), len(flat))
        rounded = _cheapest_of(products, shape, trade, importance) if trade > 0 else _nearest(products, shape)
        used = rounded.any(axis=1)
        if used.all():
            return rounded.T, basis
        if not used.any():
            return rounded[used].T, basis[used]
        basis = basis[used]


def unit_rows(basis: I8) -> NDArray[np.float64]:
    """[M, 3 (K - 1)] the vectors that a stored basis stands for."""
    rows = basis.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def harmonics_from_components(components: NDArray[np.integer[Any]], basis: I8, step: float, out: F32) -> None:
    """Components [N, M] -> ``out`` [N, 3 (K - 1)]."""
    rows = (unit_rows(basis) * step).astype(np.float32)
    length = max(BLOCK_PRODUCTS // max(rows.size, 1), 1)
    for start in range(0, len(components), length):
        block = slice(start, start + length)
        np.matmul(components[block].T.astype(np.float32).T, rows, out=out[block])


def _importance(weight: F32 | None, count: int) -> F32:
    """[N] with mean 1."""
    if weight is None or not np.any(weight):
        return np.ones(count, np.float32)
    capped = np.minimum(weight, np.quantile(weight, WEIGHT_CAP)).astype(np.float64) ** WEIGHT_POWER
    return (capped / capped.mean()).astype(np.float32)


def _nearest(products: Iterator[tuple[slice, F32]], shape: tuple[int, int]) -> I32:
    """[M, N] the nearest integers to the components, which come block by block of the N."""
    result: I32 = np.empty(shape, np.int16)
    for block, part in products:
        if result.itemsize == 2 and max(float(part.max()), -float(part.min())) >= np.iinfo(np.int16).max:
            result = result.astype(np.int32)
        np.rint(part, out=result[:, block], casting="unsafe")
    return result


def _cheapest_of(products: Iterator[tuple[slice, F32]], shape: tuple[int, int], trade: float, importance: F32) -> I32:
    """[M, N] per component the integer of least squared error * importance + trade * bits, of the nearest, the next towards 0, and 0."""
    columns = np.empty(shape, np.float32)
    for block, part in products:
        columns[:, block] = part
    result = columns.view(np.int32)  # it takes their memory
    for column, rounded in zip(columns, result, strict=True):
        value = column.copy()
        rounded[:] = np.rint(value)
        held = np.flatnonzero(rounded)
        if len(held):
            rounded[held] = _cheapest(value[held], rounded[held], len(rounded) - len(held), trade, importance[held])
    return result


def _cheapest(value: F32, nearest: I32, zeros: int, trade: float, importance: F32) -> I32:
    """As :func:`_cheapest_of`, of the values of one component that do not round to 0; ``zeros`` others do."""
    low = min(int(nearest.min()), 0)
    chosen = nearest
    for _ in range(PASSES):
        counts = np.bincount(chosen - low, minlength=max(int(nearest.max()), 0) - low + 1) + 0.1
        counts[-low] += zeros
        bits = (-trade * np.log2(counts / counts.sum())).astype(np.float32)
        chosen, best = nearest, np.square(value - nearest) * importance + bits[nearest - low]
        for candidate in (nearest - np.sign(nearest), np.zeros_like(nearest)):
            cost = np.square(value - candidate) * importance + bits[candidate - low]
            chosen = np.where(cost < best, candidate, chosen)
            best = np.minimum(cost, best)
    return chosen
