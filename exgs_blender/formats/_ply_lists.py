# SPDX-License-Identifier: GPL-3.0-or-later
"""PLY files in which a list property stands before or among the splats (a mesh's faces, say): plyfile walks them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import FileError, MissingDependencyError
from ..splats.gaussians import F32
from ._files import DAMAGED, TRUNCATED
from ._ply_header import Element, Header


def has_lists_on_the_way(header: Header, wanted: Element) -> bool:
    """Whether the rows of ``wanted`` lie where only reading every row before them can tell."""
    reached = header.elements[: header.elements.index(wanted) + 1]
    return any(element.lists for element in reached)


def list_chunks(header: Header, wanted: Element) -> Iterator[F32]:
    """The scalars of ``wanted`` in one piece [count, properties].

    Raises:
        FileError: the file is shorter than its header claims, or a row does not fit it.
    """
    try:
        import plyfile
    except ImportError:
        raise MissingDependencyError("plyfile", "reading a PLY with list properties") from None
    _check_claims(header, wanted)
    try:
        rows = plyfile.PlyData.read(str(header.path))[wanted.name].data
    except (plyfile.PlyParseError, ValueError, MemoryError, EOFError) as error:
        raise FileError(header.path, f"rows and header do not agree ({str(error)[:120]})", DAMAGED) from error
    matrix = np.empty((len(rows), len(wanted.scalars)), np.float32)
    for column, name in enumerate(wanted.scalars):
        matrix[:, column] = rows[name]
    yield matrix


def _check_claims(header: Header, wanted: Element) -> None:
    """Every row needs at least its scalars and its lists' lengths: refuse a header that claims more rows than fit."""
    left = header.file_bytes - header.data_offset
    for element in header.elements:
        lengths = sum(np.dtype(length).itemsize for length, _ in element.lists.values())
        row = element.dtype("<").itemsize + lengths if header.order else max(2 * (len(element.scalars) + len(element.lists)) - 1, 0)
        if element.count and row == 0:
            raise FileError(header.path, f"element '{element.name}' has {element.count} rows but no properties", DAMAGED)
        if element.count * row > left:
            found = f"element '{element.name}' claims {element.count} rows of {row} bytes or more, the file has {left} left"
            raise FileError(header.path, found, TRUNCATED)
        left -= element.count * row
        if element is wanted:
            return
