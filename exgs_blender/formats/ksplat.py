# SPDX-License-Identifier: GPL-3.0-or-later
""".ksplat (mkkellogg/GaussianSplats3D, ``SplatBuffer``): sections of Gaussians, in two levels quantised around bucket centres.

A 4096-byte header, a 1024-byte header a section, then each section: sizes of its partly filled buckets, bucket centres, rows.
Level 0 holds float32; level 1 16-bit positions and half floats; level 2 the same with SH in bytes. Standard deviations are
linear, rotations wxyz, colour and opacity bytes; SH is channel by channel within each degree. Axes of the PLY.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError
from ..progress import Report, silent
from ..splats import Gaussians, concatenate
from ..splats.activation import log_from_scale, logit_from_opacity, sh0_from_rgb
from ..splats.gaussians import F32, SH_COEFFICIENTS
from ._files import DAMAGED, TRUNCATED, read_bytes
from ._limits import check_not_empty, check_scales
from .registry import Format

HEADER = 4096
SECTION_HEADER = 1024
MAX_SECTIONS = 4096
MAX_SH_DEGREE = 3
DEFAULT_SH_RANGE = 1.5
DEFAULT_STEPS = {0: 1, 1: 32767, 2: 32767}
"""Steps from a bucket's centre to its border, where the header leaves them 0."""


@dataclass(frozen=True)
class Section:
    """One section's header.

    Attributes:
        count: Gaussians that it holds; capacity: rows that it has room for.
        bucket_size, buckets: Gaussians of a full bucket; how many buckets there are.
        block: edge length of a bucket, the capture's units.
        bucket_bytes: of one bucket's centre; 12 where there are any.
        steps: from a bucket's centre to its border.
        full, partial: how many buckets are full, and how many have their size in a table.
        sh_degree: 0 to 3.
    """

    count: int
    capacity: int
    bucket_size: int
    buckets: int
    block: float
    bucket_bytes: int
    steps: int
    full: int
    partial: int
    sh_degree: int


def _row(level: int, sh_degree: int) -> np.dtype[np.void]:
    """Layout of one Gaussian."""
    number, position, coefficient = ("<f4", "<f4", "<f4") if level == 0 else ("<f2", "<u2", "<f2" if level == 1 else "u1")
    names = [("position", position, 3), ("scale", number, 3), ("quat", number, 4), ("rgba", "u1", 4)]
    return np.dtype([*names, ("sh", coefficient, 3 * (SH_COEFFICIENTS[sh_degree] - 1))])


def _parse_section(path: Path, index: int, data: bytes, level: int) -> Section:
    at = HEADER + index * SECTION_HEADER
    count, capacity, bucket_size, buckets, block, bucket_bytes = struct.unpack_from("<IIIIfH", data, at)
    steps, _, full, partial, sh_degree = struct.unpack_from("<IIIIH", data, at + 24)
    where = f"section {index}:"
    if sh_degree > MAX_SH_DEGREE:
        raise FileError(path, f"{where} field 'SH degree' is {sh_degree}, expected 0 to {MAX_SH_DEGREE}", DAMAGED)
    if count > capacity:
        raise FileError(path, f"{where} field 'splatCount' is {count}, expected at most the {capacity} that it has room for", DAMAGED)
    if buckets and (bucket_bytes != 12 or full + partial > buckets or not bucket_size or not 0 < block < 1e9):
        raise FileError(path, f"{where} the buckets' fields do not fit each other", DAMAGED)
    if level and count and not buckets:
        raise FileError(path, f"{where} has quantised positions but no buckets", DAMAGED)
    return Section(count, capacity, bucket_size, buckets, block, bucket_bytes, steps or DEFAULT_STEPS[level], full, partial, sh_degree)


def _centres(path: Path, section: Section, data: bytes, start: int) -> F32:
    """The centre of each Gaussian's bucket [count, 3]. Full buckets come first, then the partly filled ones."""
    table = np.frombuffer(data, "<u4", section.partial, start)
    centres = np.frombuffer(data, "<f4", 3 * section.buckets, start + 4 * section.partial).reshape(-1, 3)
    in_full = min(section.full * section.bucket_size, section.count)
    owner = np.empty(section.count, np.int64)
    owner[:in_full] = np.arange(in_full) // section.bucket_size
    ends = np.cumsum(table, dtype=np.int64)
    left = section.count - in_full
    if left and (not len(ends) or ends[-1] < left):
        raise FileError(path, f"its buckets hold {in_full + (int(ends[-1]) if len(ends) else 0)} of {section.count} Gaussians", DAMAGED)
    owner[in_full:] = section.full + np.searchsorted(ends, np.arange(left), side="right")
    return centres[owner].astype(np.float32)


def _decode(path: Path, section: Section, data: bytes, start: int, level: int, sh_range: tuple[float, float]) -> Gaussians:
    """The Gaussians of one section whose data begins at ``start``."""
    offset = start + 4 * section.partial + section.bucket_bytes * section.buckets
    rows = np.frombuffer(data, _row(level, section.sh_degree), section.count, offset)
    means = rows["position"].astype(np.float32)
    if level:
        step = np.float32(section.block / 2 / section.steps)
        means = (means - np.float32(section.steps)) * step + _centres(path, section, data, start)
    rgba = rows["rgba"] / np.float32(255)
    return Gaussians(
        means=means,
        quats=rows["quat"],
        scales=log_from_scale(rows["scale"].astype(np.float32)),
        opacities=logit_from_opacity(rgba[:, 3]),
        sh0=sh0_from_rgb(rgba[:, None, :3]),
        shN=_decode_sh(rows["sh"], section.sh_degree, level, sh_range),
    )


def _decode_sh(values: NDArray[np.generic], degree: int, level: int, sh_range: tuple[float, float]) -> F32:
    """[N, 3 (K-1)], degree by degree and channel by channel within it -> [N, K-1, 3]."""
    shN = np.empty((len(values), SH_COEFFICIENTS[degree] - 1, 3), np.float32)
    for band in range(1, degree + 1):
        first, width = band**2 - 1, 2 * band + 1
        part = values[:, 3 * first : 3 * (first + width)].reshape(-1, 3, width)
        shN[:, first : first + width] = part.transpose(0, 2, 1)
    if level == 2:
        low, high = sh_range
        shN *= np.float32((high - low) / 255)
        shN += np.float32(low)
    return shN


def _parse_header(path: Path, data: bytes) -> tuple[int, int, int, tuple[float, float]]:
    """(sections, Gaussians, compression level, range of SH bytes)."""
    if len(data) < HEADER:
        raise FileError(path, f"header has {len(data)} bytes, expected {HEADER}", TRUNCATED)
    major, minor, sections, total, level = data[0], data[1], *struct.unpack_from("<I", data, 4), *struct.unpack_from("<IH", data, 16)
    if (major, minor) < (0, 1) or major > 0:
        raise FileError(path, f"field 'version' is {major}.{minor}, expected 0.1 or later below 1", "Export it again with a current tool")
    if level not in DEFAULT_STEPS:
        raise FileError(path, f"field 'compressionLevel' is {level}, expected 0 to 2", DAMAGED)
    if sections > MAX_SECTIONS or HEADER + sections * SECTION_HEADER > len(data):
        raise FileError(path, f"field 'maxSectionCount' is {sections}, the file has {len(data)} bytes", TRUNCATED)
    check_not_empty(path, "splatCount", total)
    low, high = struct.unpack_from("<ff", data, 36)
    sh_range = (low or -DEFAULT_SH_RANGE, high or DEFAULT_SH_RANGE)
    if not (abs(sh_range[0]) < 1e9 and abs(sh_range[1]) < 1e9):
        raise FileError(path, "fields 'minSphericalHarmonicsCoeff' and 'max...' are no plausible numbers", DAMAGED)
    return sections, total, level, sh_range


def read(path: Path, *, report: Report = silent) -> Gaussians:
    """Read a .ksplat file; sections of lower SH degree are padded with zeros to the highest.

    Raises:
        FileError: a field is out of its range, or the file is shorter than it claims.
    """
    path = Path(path)
    data = read_bytes(path)
    sections, total, level, sh_range = _parse_header(path, data)
    clouds: list[Gaussians] = []
    start = HEADER + sections * SECTION_HEADER
    for index in range(sections):
        report("reading ksplat", index / sections)
        section = _parse_section(path, index, data, level)
        need = 4 * section.partial + section.bucket_bytes * section.buckets
        need += _row(level, section.sh_degree).itemsize * section.capacity
        if need > len(data) - start:
            raise FileError(path, f"section {index}: claims {need} bytes, the file has {len(data) - start} left", TRUNCATED)
        if section.count:
            clouds.append(_decode(path, section, data, start, level, sh_range))
        start += need
    found = sum(len(cloud) for cloud in clouds)
    if found != total:
        raise FileError(path, f"field 'splatCount' is {total}, the sections hold {found}", DAMAGED)
    report("reading ksplat", 1.0)
    cloud = clouds[0] if len(clouds) == 1 else concatenate(clouds)
    check_scales(path, cloud.scales)
    return cloud


def _sniff(path: Path, head: bytes) -> bool:
    """By the suffix, or by a header whose fields fit each other and the file's size."""
    if path.suffix.lower() == ".ksplat" and not path.is_dir():
        return True
    if len(head) < HEADER or head[0] != 0 or not 1 <= head[1] <= 9 or head[2:4] != b"\0\0":
        return False
    sections, used, _, total, level = struct.unpack_from("<IIIIH", head, 4)
    size = path.stat().st_size
    return 1 <= used <= sections <= MAX_SECTIONS and 0 < total < size and level <= 2 and size > HEADER + SECTION_HEADER * sections


FORMAT = Format(
    name="ksplat",
    title="ksplat (GaussianSplats3D)",
    suffixes=(".ksplat",),
    sniff=_sniff,
    read=read,
    priority=-10,  # it has no magic number
    variants="version 0.1, compression levels 0 to 2",
    conventions="as in the PLY; standard deviations and opacity linear; wxyz",
    max_sh_degree=MAX_SH_DEGREE,
)
