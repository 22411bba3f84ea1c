# SPDX-License-Identifier: GPL-3.0-or-later
"""How clouds and frames pass between the processes: raw float32 in files that both map. numpy only.

A frame file holds, one after the other, the planes of :data:`FRAME_PLANES`, the bottom row first, as Blender keeps its pictures; a
cloud file holds the six arrays of ``Gaussians`` in declaration order.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cameras import Cameras
from ..errors import ExgsError
from ..splats import Gaussians

F32 = NDArray[np.float32]

FRAME_PLANES: dict[str, int] = {"combined": 4, "unrestored": 4, "depth": 1, "mask": 1}
"""Name and channels of each plane: the two images premultiplied scene-linear RGBA, z along the view axis, 1 - opacity."""

KEPT_FILES = 2
"""How many frame files wait for their next use: the 3D view asks for two sizes in turn."""


def transfer_folder() -> Path:
    """A private folder in memory where the system has such a place, else in the temporary folder."""
    memory = Path("/dev/shm")
    base = str(memory) if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30 else None
    return Path(tempfile.mkdtemp(prefix="exgs-", dir=base))


def write_cloud(path: Path, gaussians: Gaussians) -> dict[str, Any]:
    """Write a cloud; returns what :func:`read_cloud` needs beside the path."""
    with path.open("wb") as file:
        for _, array in gaussians.arrays():
            array.tofile(file)
    return {"count": len(gaussians), "rest": gaussians.shN.shape[1]}


def read_cloud(path: Path, count: int, rest: int) -> Gaussians:
    """Read a cloud that :func:`write_cloud` wrote (a copy; the file may go away)."""
    shapes = [(count, 3), (count, 4), (count, 3), (count,), (count, 1, 3), (count, rest, 3)]
    values = np.fromfile(path, np.float32)
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = [part.reshape(shape) for part, shape in zip(np.split(values, ends[:-1]), shapes, strict=True)]
    return Gaussians(*parts)


def frame_planes(flat: F32, width: int, height: int) -> dict[str, F32]:
    """The planes of a frame's memory as views [H, W, channels] or [H, W] whose row 0 is the top, as everywhere else."""
    planes: dict[str, F32] = {}
    start = 0
    for name, depth in FRAME_PLANES.items():
        size = depth * height * width
        shape = (height, width, depth) if depth > 1 else (height, width)
        planes[name] = flat[start : start + size].reshape(shape)[::-1]
        start += size
    return planes


def map_frame(path: Path, width: int, height: int) -> dict[str, F32]:
    """The planes of a frame file that is there already, to write to."""
    return frame_planes(np.memmap(path, np.float32, "r+", shape=(sum(FRAME_PLANES.values()) * height * width,)), width, height)


class FrameFiles:
    """Frame files in a folder, used again once nobody holds the frame any more.

    Both processes keep them mapped, so that a frame is neither copied nor given new memory on its way.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free: list[tuple[Path, mmap.mmap]] = []
        self._made = 0

    def take(self, width: int, height: int) -> tuple[Path, dict[str, F32]]:
        """A file for one frame and its planes, read-only; it is free again when the last of their arrays is gone.

        Raises:
            ExgsError: there is no room for it.
        """
        size = 4 * sum(FRAME_PLANES.values()) * height * width
        at = next((i for i, (_, memory) in enumerate(self._free) if len(memory) == size), None)
        slot = self._make(size) if at is None else self._free.pop(at)
        while len(self._free) > KEPT_FILES:
            with contextlib.suppress(OSError):  # Windows lets nobody remove what the server has mapped; the folder goes at the end
                self._free.pop(0)[0].unlink()
        flat: F32 = np.frombuffer(slot[1], np.float32)
        weakref.finalize(flat, self._free.append, slot)
        return slot[0], frame_planes(flat, width, height)

    def _make(self, size: int) -> tuple[Path, mmap.mmap]:
        self._made += 1
        path = self._folder / f"frame-{self._made}.f32"
        with path.open("wb+") as file:
            try:
                if hasattr(os, "posix_fallocate"):  # complain now; where memory for a mapped file ends, the process does
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
            except OSError as error:
                raise ExgsError(
                    f"no room for a frame of {size / 1e6:.0f} MB in {path.parent} ({error.strerror}); render it smaller"
                ) from None
            return path, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


def camera_to_json(cameras: Cameras) -> dict[str, Any]:
    """The first view of a set as JSON values."""
    return {
        "viewmat": cameras.viewmats[0].tolist(),
        "K": cameras.Ks[0].tolist(),
        "width": int(cameras.widths[0]),
        "height": int(cameras.heights[0]),
        "frame": int(cameras.frames[0]),
        "camera_model": cameras.camera_model,
        "near_plane": cameras.near_plane,
        "far_plane": cameras.far_plane,
    }


def camera_from_json(data: dict[str, Any]) -> Cameras:
    """The inverse of :func:`camera_to_json`."""
    return Cameras(
        viewmats=np.array([data["viewmat"]]),
        Ks=np.array([data["K"]]),
        widths=np.array([data["width"]]),
        heights=np.array([data["height"]]),
        frames=np.array([data["frame"]]),
        names=(str(data["frame"]),),
        camera_model=data["camera_model"],
        near_plane=float(data["near_plane"]),
        far_plane=float(data["far_plane"]),
    )
