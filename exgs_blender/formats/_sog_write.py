# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing SOG version 2: quantised values as lossless WebP textures, along a Z curve.

Section numbers refer to the specification in the PlayCanvas user manual, "The SOG Format".
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..errors import ExgsError, MissingDependencyError
from ..progress import Report, silent
from ..splats import Gaussians
from ..splats.activation import opacity_from_logit
from ..splats.gaussians import F32
from ..splats.morton import morton_order
from ._sh_palette import sh_palette
from ._smallest_three import SQRT2, largest_and_rest
from ._sog_fields import PALETTE_COLUMNS, QUAT_TAG
from ._sog_lod import LOD_META
from ._sog_source import META

U8 = NDArray[np.uint8]

WEBP_METHOD, WEBP_QUALITY = 4, 80
"""Effort of the lossless coder: more gives 1 % at five times the seconds."""
ROWS = 1 << 16
"""Gaussians that are quantised at a time."""
CODEBOOK = 256
BINS = 1 << 14
SMOOTH = 257
"""Bins over which the first guess is smoothed: tails then get levels too."""
BOOK_ROUNDS = 10
BOOK_POWER = 0.75
"""A value's weight in its codebook is its count to this power: rare ones (the largest Gaussians, say) show more than they count."""
EARLIEST = (1980, 1, 1, 0, 0, 0)


def palette_size(count: int) -> int:
    """SH palette entries for a capture: a power of two of 1,024 up to 65,536, as PlayCanvas' writer has it."""
    return int(min(64, 2.0 ** math.floor(math.log2(max(count, 1) / 1024))) * 1024) or 1


def codebook(values: F32) -> tuple[list[float], U8]:
    """Best 256 values for an array, and the nearest one's index for each of its values (section 3.3).

    Lloyd's iterations on a fine histogram, from the quantiles of its cube root, which are optimal for many levels (Panter and Dite 1951).
    """
    flat = values.reshape(-1)
    low, high = float(flat.min()), float(flat.max())
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-12):
        return [low] * CODEBOOK, np.zeros(values.shape, np.uint8)
    counts = np.zeros(BINS)
    step = 1 << 17
    for start in range(0, len(flat), step):
        counts += np.histogram(flat[start : start + step], BINS, (low, high))[0]
    middles = low + (np.arange(BINS) + 0.5) * ((high - low) / BINS)
    weights = counts**BOOK_POWER
    smooth = np.convolve(weights, np.full(SMOOTH, 1 / SMOOTH), "same") ** (1 / 3)
    reached = np.cumsum(smooth) / smooth.sum()
    book = np.interp((np.arange(CODEBOOK) + 0.5) / CODEBOOK, reached, middles)
    for _ in range(BOOK_ROUNDS):
        owner = np.searchsorted((book[1:] + book[:-1]) / 2, middles)
        total = np.bincount(owner, weights, CODEBOOK)
        book = np.where(total > 0, np.bincount(owner, weights * middles, CODEBOOK) / np.maximum(total, 1e-30), book)
        book.sort()
    book32 = book.astype(np.float32)
    indices = np.empty(len(flat), np.uint8)
    for start in range(0, len(flat), step):
        indices[start : start + step] = np.searchsorted((book32[1:] + book32[:-1]) / 2, flat[start : start + step])
    return book32.tolist(), indices.reshape(values.shape)


class _Textures:
    """Encoded textures by file name, all but the palette in one order and one size.

    Args:
        order: [N] row of each pixel.
        report: progress; every texture is a step.
    """

    def __init__(self, order: NDArray[np.int64], report: Report, steps: int) -> None:
        self.files: dict[str, bytes] = {}
        self._order, self._report, self._steps = order, report, steps
        self._width = 4 * math.ceil(math.sqrt(len(order)) / 4)
        self._height = 4 * math.ceil(len(order) / self._width / 4)

    def add(self, name: str, *channels: NDArray[Any], alpha: NDArray[Any] | int = 255) -> None:
        """A texture of per-Gaussian values: arrays [N, n] of bytes, together three channels at most."""
        canvas = np.zeros((self._height * self._width, 4), np.uint8)
        filled = canvas[: len(self._order)]
        at = 0
        for channel in channels:
            filled[:, at : at + channel.shape[1]] = channel[self._order]
            at += channel.shape[1]
        filled[:, 3] = alpha if isinstance(alpha, int) else alpha[self._order]
        self.add_image(name, canvas.reshape(self._height, self._width, 4))

    def add_image(self, name: str, pixels: U8) -> None:
        """A texture [H, W, 4] as it is."""
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", lossless=True, exact=True, method=WEBP_METHOD, quality=WEBP_QUALITY)
        self.files[name] = file.getvalue()
        self._report("writing SOG", min(len(self.files) / self._steps, 1.0))


def _add_means(textures: _Textures, means: F32) -> dict[str, Any]:
    """Section 3.1: 16 bits a coordinate between mins and maxs of sign(x) ln(1 + |x|)."""
    names = ["means_l.webp", "means_u.webp"]
    cells = np.empty(means.shape, np.uint16)
    ends = np.stack([means.min(axis=0), means.max(axis=0)]).astype(np.float64)
    mins, maxs = np.sign(ends) * np.log1p(np.abs(ends))
    scale = 65535 / np.maximum(maxs - mins, 1e-30)
    for start in range(0, len(means), ROWS):
        piece = means[start : start + ROWS].astype(np.float64)
        cells[start : start + ROWS] = np.round((np.sign(piece) * np.log1p(np.abs(piece)) - mins) * scale)
    textures.add(names[0], (cells & 255).astype(np.uint8))
    textures.add(names[1], (cells >> 8).astype(np.uint8))
    return {"mins": mins.tolist(), "maxs": maxs.tolist(), "files": names}


def _add_quats(textures: _Textures, quats: F32) -> dict[str, Any]:
    """Section 3.2."""
    packed, tags = np.empty((len(quats), 3), np.uint8), np.empty(len(quats), np.uint8)
    for start in range(0, len(quats), ROWS):
        largest, rest = largest_and_rest(quats[start : start + ROWS])
        packed[start : start + ROWS] = np.clip(np.round((rest * SQRT2 + 1) * np.float32(127.5)), 0, 255)
        tags[start : start + ROWS] = QUAT_TAG + largest
    textures.add("quats.webp", packed, alpha=tags)
    return {"files": ["quats.webp"]}


def _add_sh_rest(textures: _Textures, shN: F32, report: Report) -> dict[str, Any]:
    """Section 3.5."""
    count, rest = len(shN), shN.shape[1]
    palette, labels = sh_palette(shN.reshape(count, 3 * rest), palette_size(count), report)
    book, indices = codebook(palette)
    rows = -(-len(palette) // PALETTE_COLUMNS)
    pixels = np.zeros((rows * PALETTE_COLUMNS, rest, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[: len(palette), :, :3] = indices.reshape(len(palette), rest, 3)
    textures.add_image("shN_centroids.webp", pixels.reshape(rows, PALETTE_COLUMNS * rest, 4))
    textures.add("shN_labels.webp", np.stack([labels & 255, labels >> 8], axis=1).astype(np.uint8))
    bands = {3: 1, 8: 2, 15: 3}[rest]
    return {"count": len(palette), "bands": bands, "codebook": book, "files": ["shN_centroids.webp", "shN_labels.webp"]}


def _parts(gaussians: Gaussians, report: Report) -> dict[str, bytes]:
    """File name -> content of a capture; meta.json is the last."""
    textures = _Textures(morton_order(gaussians.means), report, 7 if gaussians.sh_degree else 5)
    meta: dict[str, Any] = {"version": 2, "asset": {"generator": "ExGS"}, "count": len(gaussians)}
    meta["means"] = _add_means(textures, gaussians.means)
    book, indices = codebook(gaussians.scales)
    textures.add("scales.webp", indices)
    meta["scales"] = {"codebook": book, "files": ["scales.webp"]}
    meta["quats"] = _add_quats(textures, gaussians.quats)
    book, indices = codebook(gaussians.sh0[:, 0])
    opacity = np.round(opacity_from_logit(gaussians.opacities) * 255).astype(np.uint8)
    textures.add("sh0.webp", indices, alpha=opacity)
    meta["sh0"] = {"codebook": book, "files": ["sh0.webp"]}
    if gaussians.sh_degree:
        meta["shN"] = _add_sh_rest(textures, gaussians.shN, report)
    return {**textures.files, META: json.dumps(meta, separators=(",", ":")).encode()}


def write_sog(path: Path, gaussians: Gaussians, report: Report = silent) -> None:
    """Write a bundle (``.sog``) or a ``meta.json`` with its textures beside it; each file is atomic, meta.json comes last.

    Raises:
        ExgsError: the path asks for levels of detail.
        FileError: a file cannot be written.
        MissingDependencyError: Pillow is not in this Python.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise MissingDependencyError("pillow", "writing SOG captures") from None
    if path.name.lower() == LOD_META:
        raise ExgsError(f"{path}: levels of detail are not written; name the file {META} or *.sog")
    report("writing SOG", 0.0)
    parts = _parts(gaussians, report)
    if path.suffix.lower() == ".json":
        for name, content in parts.items():
            with atomic_path(path if name == META else path.with_name(name)) as part:
                part.write_bytes(content)
    else:
        with atomic_path(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as bundle:
            for name, content in parts.items():
                bundle.writestr(zipfile.ZipInfo(name, EARLIEST), content)
    report("writing SOG", 1.0)
