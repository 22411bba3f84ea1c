# SPDX-License-Identifier: GPL-3.0-or-later
"""ExGS's own .exgs (docs/exgs-format.md): what compression writes. numpy and the standard library only.

Writing through this module prunes nothing: all Gaussians are rounded near-losslessly (``ugc.quantise.NEAR_LOSSLESS``): positions
to 1/260,000 of the cloud's (contracted) size (1/65,000 for the largest Gaussians), scales to 0.5 %, angles to 0.35 degrees where
extents differ by a factor of 1.6 (finer for thinner ones), opacity to 0.0005, colour to 1/2048, higher SH components to 0.002; in layers,
each in Morton order; rotations relabelled to the smallest one, opacity within 0.00025 of 0 and 1 clipped.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..atomic import atomic_path
from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians
from ..ugc.bitstream import HINT, MAGIC
from ..ugc.pipeline import Asset, decompress, encode_all
from ._files import read_bytes
from ._limits import check_not_empty, check_scales
from .registry import Format


def read_asset(path: str | os.PathLike[str], *, report: Report = silent) -> Asset:
    """The cloud and what the file says about how it was made.

    Raises:
        FileError: missing, truncated, damaged (names the section), of an unknown version.
    """
    path = Path(path)
    report("read exgs", 0.0)
    data = read_bytes(path)
    if not data:
        raise FileError(path, "file is empty", HINT)
    asset = decompress(data, str(path))
    report("read exgs", 1.0)
    return asset


def _sniff(path: Path, head: bytes) -> bool:
    return head.startswith(MAGIC[:5])


def _read(path: Path, *, report: Report = silent) -> Gaussians:
    gaussians = read_asset(path, report=report).gaussians
    check_not_empty(path, "count", len(gaussians))
    check_scales(path, gaussians.scales)
    return gaussians


def _write(path: Path, gaussians: Gaussians, *, report: Report = silent) -> None:
    report("write exgs", 0.0)
    data = encode_all(gaussians, source_name=path.stem)
    with atomic_path(path) as part:
        part.write_bytes(data)
    report("write exgs", 1.0)


FORMAT = Format(
    name="exgs",
    title="ExGS compressed asset",
    suffixes=(".exgs",),
    sniff=_sniff,
    read=_read,
    write=_write,
    priority=10,
    conventions="as in the PLY; quantised and coded, each Gaussian's own axes renamed",
)
