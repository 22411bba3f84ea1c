# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasterizer for the CPU: projection, depth order, tiles, blending. Needs numba."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ..splats import Gaussians
from ..splats.gaussians import F32
from . import cpu_blend, cpu_order, cpu_project
from .frame import Backend, Frame, RasterizeMode
from .prepared import PreparedScene, prepare
from .view import View

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
MEASURED_PAIRS = 1 << 19
_one_at_a_time = threading.Lock()
"""numba's portable threading layer ends the process when two threads start parallel kernels at once."""


@dataclass(frozen=True, eq=False)
class TileLists:
    """The splats of one view, handed out to tiles.

    Attributes:
        splats: [V, 16] in order of depth, columns as in ``cpu_project``.
        slots: [V] the Gaussian behind each splat.
        offsets: [tiles + 1] where each tile's pairs begin.
        pairs: [P] by tile, then depth: the splat's rank and the rows that it touches, as ``emit_pairs`` packs them.
        tiles_x: tiles in a row of the image.
    """

    splats: F32
    slots: I32
    offsets: I64
    pairs: NDArray[np.uint64]
    tiles_x: int


def render(scene: PreparedScene, view: View, mode: RasterizeMode, threads: int | None = None) -> Frame:
    """One view of a prepared scene."""
    with held_threads(threads) as used:
        rgb, alpha, depth = blend_tiles(tile_lists(scene, view, mode), view)
    return Frame(rgb, alpha, depth, Backend("cpu", f"numba {numba.__version__}, {used} thread{'s' if used > 1 else ''}"))


def blend_tiles(lists: TileLists, view: View) -> tuple[F32, F32, F32]:
    """rgb [H, W, 3], alpha and depth [H, W]."""
    rgb, alpha, depth = _image(view)
    every_tile = np.array([0, len(lists.offsets) - 1], np.int64)
    no_sums = np.empty((0, cpu_blend.MEASURES), np.float32)
    cpu_blend.blend(lists.splats, lists.offsets, lists.pairs, lists.tiles_x, every_tile, rgb, alpha, depth, no_sums)
    return rgb, alpha, depth


def _image(view: View) -> tuple[F32, F32, F32]:
    size = (view.height, view.width)
    return np.empty((*size, 3), np.float32), np.empty(size, np.float32), np.empty(size, np.float32)


def measure(
    scene: PreparedScene, view: View, mode: RasterizeMode, sums: F64, *, coloured: bool = True, threads: int | None = None
) -> tuple[F32, F32, int]:
    """Blend one view and add what each Gaussian did in it to ``sums`` [N, 6], the columns named in ``cpu_blend``.

    Tiles are taken in groups, so that the sums of pairs need little memory.

    Args:
        coloured: whether the image is wanted; without it rgb is black, which saves evaluating SH.

    Returns:
        rgb [H, W, 3], alpha [H, W] and how many pixels of splats were evaluated.
    """
    evaluated = 0
    with held_threads(threads):
        lists = tile_lists(scene, view, mode, coloured)
        image = _image(view)
        groups = list(tile_groups(lists.offsets))
        of_pairs = np.empty(
            (max(int(lists.offsets[last] - lists.offsets[first]) for first, last in groups), cpu_blend.MEASURES), np.float32
        )
        for first, last in groups:
            begin, end = lists.offsets[first], lists.offsets[last]
            here = of_pairs[: end - begin]
            here[:] = 0
            tile_range = np.array([first, last], np.int64)
            cpu_blend.blend_and_measure(lists.splats, lists.offsets, lists.pairs, lists.tiles_x, tile_range, *image, here)
            evaluated += int(
                cpu_blend.add_up(here, lists.pairs[begin:end], lists.slots, lists.splats, unit_depth_area(view), not view.ortho, sums)
            )
    return image[0], image[1], evaluated


def unit_depth_area(view: View) -> float:
    """Area of a pixel in square world units at depth 1, for an orthographic view at any depth: 1 / f^2 in the scene's scale."""
    scale = float(np.linalg.det(view.viewmat[:3, :3])) ** (2 / 3)
    return 1.0 / (float(view.K[0, 0] * view.K[1, 1]) * scale)


def tile_groups(offsets: I64) -> Iterator[tuple[int, int]]:
    """Ranges of tiles with about MEASURED_PAIRS pairs each."""
    first, tiles = 0, len(offsets) - 1
    while first < tiles:
        last = int(np.searchsorted(offsets, offsets[first] + MEASURED_PAIRS, side="right")) - 1
        last = min(max(last, first + 1), tiles)
        yield first, last
        first = last


def warm_up() -> float:
    """Compile every kernel, or load it from the cache on disk; returns the seconds that took.

    Without it the first frame pays: about 20 s where nothing is cached yet. Numba keeps its cache beside the kernels,
    in NUMBA_CACHE_DIR if that is set, or in the user's cache folder where the package cannot be written to.
    """
    began = time.perf_counter()
    shapes = {"means": (1, 3), "quats": (1, 4), "scales": (1, 3), "opacities": (1,), "sh0": (1, 1, 3), "shN": (1, 0, 3)}
    one = Gaussians(**{name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    scene = prepare(one)
    viewmat = np.eye(4)
    viewmat[2, 3] = 3.0
    view = View(viewmat, np.diag([8.0, 8.0, 1.0]), 8, 8, False, 0.01, 1e10, np.array([0.0, 0.0, -3.0]), np.array([0.0, 0.0, 1.0]))
    render(scene, view, "classic")
    measure(scene, view, "classic", np.zeros((1, cpu_blend.MEASURES)))
    return time.perf_counter() - began


def tile_lists(scene: PreparedScene, view: View, mode: RasterizeMode, coloured: bool = True) -> TileLists:
    """Everything before blending. To be called while this thread holds numba's threads."""
    splats, keys, slots = project(scene, view, mode)
    if coloured:
        shade(scene, view, slots, splats)
    slots = depth_order(keys, slots)
    ordered, room = in_order(splats, slots, view)
    del splats, keys  # before the pairs need room: this is where a large scene's memory is highest
    return bin_splats(ordered, room, slots, view)


def project(scene: PreparedScene, view: View, mode: RasterizeMode) -> tuple[F32, U32, I32]:
    """Splats [N, 16], black, and of the V visible ones the sort keys [V] and their numbers [V], ascending."""
    count = len(scene)
    splats = np.empty((count, cpu_project.SPLAT_WIDTH), np.float32)
    depths = np.empty(count, np.float32)
    found = np.empty(count, np.int32)
    counts = np.zeros(-(-count // cpu_project.CHUNK), np.int64)
    cpu_project.project(
        scene.means,
        scene.covars,
        scene.opacities,
        np.array(view.viewmat),  # copies: numba compiles anew for read-only arrays
        np.array(view.K),
        np.array([view.width, view.height], np.int64),
        np.array([view.near, view.far], np.float64),
        view.ortho,
        mode == "antialiased",
        splats,
        depths,
        found,
        counts,
    )
    keys = np.empty(count, np.uint32)
    slots = np.empty(count, np.int32)
    visible = cpu_order.compact(depths, found, counts, keys, slots)
    return splats, keys[:visible], slots[:visible]


def shade(scene: PreparedScene, view: View, slots: I32, splats: F32) -> None:
    """Fill the colours of the visible splats; each object's directions are taken in its own space."""
    towards, offset = view.ray
    for part in scene.parts:
        first, last = np.searchsorted(slots, (part.start, part.stop))
        linear = np.ascontiguousarray(part.object_from_world[:3, :3])
        cpu_project.colour(scene.means, part.sh0, part.shN, part.start, linear, towards, offset, slots[first:last], splats)


def depth_order(keys: U32, slots: I32) -> I32:
    """The numbers [V] nearest first; equal depths stay in order."""
    spare_keys = np.empty_like(keys)
    spare_slots = np.empty_like(slots)
    for shift in range(0, 32, cpu_order.DIGIT):
        cpu_order.radix_pass(keys, slots, np.uint32(shift), spare_keys, spare_slots)
        keys, slots, spare_keys, spare_slots = spare_keys, spare_slots, keys, slots
    return slots


def in_order(splats: F32, slots: I32, view: View) -> tuple[F32, I64]:
    """The splats [V, 16] in the order of ``slots``, and how many pairs each chunk of them makes at most."""
    ordered = np.empty((len(slots), cpu_project.SPLAT_WIDTH), np.float32)
    room = np.zeros(cpu_order.SCATTER_CHUNKS, np.int64)
    cpu_order.gather(splats, slots, _tiles(view), ordered, room)
    return ordered, room


def _tiles(view: View) -> I64:
    """Columns and rows of tiles."""
    return np.array([-(-view.width // cpu_order.TILE_WIDTH), -(-view.height // cpu_order.TILE_HEIGHT)], np.int64)


def bin_splats(ordered: F32, room: I64, slots: I32, view: View) -> TileLists:
    """Hand the splats, nearest first, out to the tiles that they touch; ``room`` as from :func:`in_order`."""
    tiles = _tiles(view)
    starts = np.concatenate([[0], np.cumsum(room)])
    where = np.empty(starts[-1], np.uint32)
    emitted = np.empty(starts[-1], np.uint64)
    starts, stops = starts[:-1], starts[:-1].copy()
    counts = np.zeros((cpu_order.SCATTER_CHUNKS, int(tiles.prod())), np.int64)
    cpu_order.emit_pairs(ordered, tiles, view.height, stops, where, emitted, counts)
    offsets = np.empty(counts.shape[1] + 1, np.int64)
    cpu_order.offsets_of(counts, offsets)
    pairs = np.empty(offsets[-1], np.uint64)
    cpu_order.scatter_pairs(where, emitted, starts, stops, counts, pairs)
    return TileLists(ordered, slots, offsets, pairs, int(tiles[0]))


def _threads_available() -> int:
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


@contextmanager
def held_threads(wanted: int | None) -> Iterator[int]:
    """Hold the machine's one set of numba threads, with at most ``wanted`` of them."""
    with _one_at_a_time:
        before = numba.get_num_threads()
        used = min(wanted, _threads_available()) if wanted else before
        numba.set_num_threads(max(used, 1))
        try:
            yield max(used, 1)
        finally:
            numba.set_num_threads(before)
