# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's pictures: views, heat maps, and the windows where a view differs most."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingDependencyError
from ...splats.gaussians import F32
from ..compare import ViewPair, ViewScore

Image8 = NDArray[np.uint8]

CROP = 220
"""Largest side of a crop in pixels: two pairs fit beside each other on a laptop's screen."""
CROPS = 2
HEAT_FULL = 0.5
"""FLIP that the last colour stands for; single pixels go higher, whole regions hardly do."""
HEAT_STOPS = ((0.0, (6, 8, 20)), (0.25, (88, 20, 110)), (0.5, (196, 52, 88)), (0.75, (250, 144, 40)), (1.0, (255, 250, 190)))
"""Part of the range and its colour; brightness rises all the way, so that it reads in grey too."""
VIEW_QUALITY = 92
LOSSLESS_EFFORT = 50


@dataclass(frozen=True)
class Crop:
    """A window of a view, top left corner at (``left``, ``top``); its pixels are cut from the view's pictures."""

    left: int
    top: int
    width: int
    height: int
    flip: float


@dataclass(frozen=True, eq=False)
class ViewPictures:
    """One view, 8-bit: 7 bytes a pixel, so that all views of a report can be held until the worst one is known.

    Attributes:
        score: its numbers.
        original, compressed: [H, W, 3].
        difference: [H, W] FLIP, 255 for ``HEAT_FULL`` and above.
        crops: where the two differ most, worst first.
    """

    score: ViewScore
    original: Image8
    compressed: Image8
    difference: Image8
    crops: tuple[Crop, ...]


def pictures_of(pair: ViewPair) -> ViewPictures:
    """Keep of a compared view what the page shows."""
    heat = np.rint(np.clip(pair.difference / HEAT_FULL, 0, 1) * 255).astype(np.uint8)
    return ViewPictures(pair.score, _rgb8(pair.reference), _rgb8(pair.image), heat, worst_crops(pair.difference))


def worst_crops(difference: F32, side: int = CROP, count: int = CROPS) -> tuple[Crop, ...]:
    """The windows with the largest mean difference [H, W], worst first. They do not overlap.

    At most half as high and a third as wide as the picture, so that two always fit.
    """
    height, width = max(min(side, difference.shape[0] // 2), 1), max(min(side, difference.shape[1] // 3), 1)
    sums = np.pad(difference.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    means = (sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]) / (height * width)
    found: list[Crop] = []
    while len(found) < count and means.max() >= 0:
        top, left = (int(i) for i in np.unravel_index(int(means.argmax()), means.shape))
        found.append(Crop(left, top, width, height, float(means[top, left])))
        means[max(top - height + 1, 0) : top + height, max(left - width + 1, 0) : left + width] = -1
    return tuple(found)


def cropped(image: Image8, crop: Crop) -> Image8:
    """The crop's pixels [height, width, ...]."""
    return image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def heat_map(difference: Image8) -> Image8:
    """[H, W] -> [H, W, 3] in the colours of ``HEAT_STOPS``."""
    places = [255 * place for place, _ in HEAT_STOPS]
    columns = [np.interp(np.arange(256), places, [colour[i] for _, colour in HEAT_STOPS]) for i in range(3)]
    table: Image8 = np.rint(np.stack(columns, axis=1)).astype(np.uint8)
    return table[difference]


def data_uri(image: Image8, lossless: bool) -> str:
    """An image [H, W, 3] as WebP text for a page; crops lossless, whole views nearly so.

    Raises:
        MissingDependencyError: pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependencyError("pillow", "the pictures of the quality report") from None
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", lossless=lossless, quality=LOSSLESS_EFFORT if lossless else VIEW_QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _rgb8(image: F32) -> Image8:
    return np.rint(image * 255).astype(np.uint8)
