# SPDX-License-Identifier: GPL-3.0-or-later
"""PLY rows -> the arrays of a cloud, in pieces that stay in a core's cache, by several threads where the rows are binary."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import MAX_LOGIT
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ._files import TRUNCATED
from ._limits import check_finite, check_scales
from ._ply_header import Element, Header

CHUNK_BYTES = 1 << 21
"""Rows are split into columns in pieces that stay in cache; smaller ones cost more calls than they save in misses."""

MAX_THREADS = 4
"""More do not help: memory is the limit then."""

POSITION = ("x", "y", "z")
NORMAL = ("nx", "ny", "nz")
COLOUR = ("f_dc_0", "f_dc_1", "f_dc_2")
SCALE = ("scale_0", "scale_1", "scale_2")
ROTATION = ("rot_0", "rot_1", "rot_2", "rot_3")


def as_matrix(rows: NDArray[Any], element: Element, order: str) -> F32:
    """Structured rows of one element -> [n, properties] float32; no copy where they are that already."""
    if set(element.scalars.values()) == {"f4"}:
        return rows.view(order + "f4").reshape(len(rows), len(element.scalars)).astype(np.float32, copy=False)
    matrix = np.empty((len(rows), len(element.scalars)), np.float32)
    for column, name in enumerate(element.scalars):
        matrix[:, column] = rows[name]
    return matrix


class BinaryPieces:
    """The rows of a binary element, piece by piece, for several threads: each has a file handle and a buffer of its own.

    Args:
        header: its claims fit the file.
        element: without lists before or in it.
    """

    def __init__(self, header: Header, element: Element) -> None:
        self._header, self._count = header, element.count
        self._dtype = element.dtype(header.order)
        self._offset = header.offset_of(element)
        self._rows = max(1, CHUNK_BYTES // self._dtype.itemsize)
        self._element = element
        self._own = threading.local()
        self._files: list[BinaryIO] = []

    @property
    def starts(self) -> range:
        """First rows of the pieces."""
        return range(0, self._count, self._rows)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def read(self, start: int) -> F32:
        """The piece [n, properties] that begins at a row; this thread's next call overwrites it."""
        if not hasattr(self._own, "file"):
            self._own.file = self._header.path.open("rb", buffering=0)
            self._files.append(self._own.file)
            self._own.buffer = np.empty(min(self._rows, self._count), self._dtype)
        chunk = self._own.buffer[: min(self._rows, self._count - start)]
        view = memoryview(chunk.view(np.uint8).data)
        self._own.file.seek(self._offset + start * self._dtype.itemsize)
        done = 0
        while done < len(view):
            step = self._own.file.readinto(view[done:])
            if not step:
                raise FileError(self._header.path, f"ends after Gaussian {start + done // self._dtype.itemsize}", TRUNCATED)
            done += step
        return as_matrix(chunk, self._element, self._header.order)


class Columns:
    """The arrays of a cloud, filled piece by piece.

    Args:
        element: the one with the Gaussians; its header's claims fit the file.
        degree: of SH.

    Attributes:
        targets: (array [N, n], the columns of the file that it takes), in the order of ``Gaussians``.
    """

    def __init__(self, element: Element, degree: int) -> None:
        self.count = element.count
        self.suspicious = False
        self._rest = SH_COEFFICIENTS[degree] - 1
        self._element = element
        self.targets: list[tuple[F32, NDArray[np.intp]]] = []

    def allocate(self) -> None:
        """Make the arrays; to be called when the first piece has proved the header's claims."""
        column = {name: i for i, name in enumerate(self._element.scalars)}
        # Channel-major in the file (all of red, all of green, all of blue), colour innermost in memory.
        rest_names = [f"f_rest_{channel * self._rest + k}" for k in range(self._rest) for channel in range(3)]
        for names in (POSITION, ROTATION, SCALE, ("opacity",), COLOUR, rest_names):
            index = np.array([column[name] for name in names], np.intp)
            self.targets.append((np.empty((self.count, len(names)), np.float32), index))

    def split(self, start: int, piece: F32) -> None:
        """Copy a piece's columns to where they belong; several side by side as one item, which is quicker than one by one."""
        for target, columns in self.targets:
            first, width = int(columns[0]) if len(columns) else 0, len(columns)
            part = target[start : start + len(piece)]
            if width and np.array_equal(columns, np.arange(first, first + width)):
                item = f"V{4 * width}"
                part.view(item)[:] = piece[:, first : first + width].view(item)
            else:
                np.take(piece, columns, axis=1, out=part, mode="clip")

    def put(self, start: int, piece: F32) -> None:
        """:meth:`split` a piece, and look for values that are not finite while it is in the core's cache."""
        self.split(start, piece)
        if not math.isfinite(np.einsum("i->", piece.reshape(-1))):  # a third quicker than isfinite; may overflow, which is looked into
            self.suspicious = True

    def finished(self, path: Path) -> Gaussians:
        """The cloud, checked."""
        means, quats, scales, opacities, sh0, shN = (target for target, _ in self.targets)
        if self.suspicious:
            opacities[np.isposinf(opacities)] = MAX_LOGIT
            opacities[np.isneginf(opacities)] = -MAX_LOGIT
        check_scales(path, scales)
        count = self.count
        cloud = Gaussians(means, quats, scales, opacities[:, 0], sh0.reshape(count, 1, 3), shN.reshape(count, self._rest, 3))
        if self.suspicious:  # or it was a property that is of no interest
            check_finite(path, cloud)
        return cloud


def gather(columns: Columns, chunks: Iterator[F32], report: Report) -> None:
    """One piece after another."""
    done = 0
    with np.errstate(over="ignore"):
        for piece in chunks:
            if done == 0:
                columns.allocate()
            columns.put(done, piece)
            done += len(piece)
            report("reading PLY", done / columns.count)


def gather_parallel(columns: Columns, pieces: BinaryPieces, report: Report) -> None:
    """Pieces in any order, by this thread and some others: reading and splitting into columns both let go of the interpreter."""
    columns.allocate()
    starts = pieces.starts
    left = iter(starts)  # shared: each piece is taken once

    def work(tell: Report) -> None:
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which ``finished`` refuses
            for start in left:
                columns.put(start, pieces.read(start))
                tell("reading PLY", (start + 1) / columns.count)

    helpers = min(MAX_THREADS, os.cpu_count() or 1, len(starts)) - 1
    with ThreadPoolExecutor(max(helpers, 1)) as pool:
        try:
            others = [pool.submit(work, silent) for _ in range(helpers)]
            work(report)
            for other in others:
                other.result()
        finally:
            for _ in left:  # whoever failed, nobody begins another piece
                pass
            pool.shutdown()
            pieces.close()
    report("reading PLY", 1.0)
