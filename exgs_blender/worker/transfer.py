# SPDX-License-Identifier: GPL-3.0-or-later
"""How clouds and frames pass between the processes: raw float32 in files that both map. numpy only.

A frame file holds, one after the other, the planes of :data:`FRAME_PLANES`, row 0 at the top; a cloud file
holds the six arrays of ``Gaussians`` in declaration order.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cameras import Cameras
from ..splats import Gaussians

F32 = NDArray[np.float32]

FRAME_PLANES: dict[str, int] = {"combined": 4, "unrestored": 4, "depth": 1, "mask": 1}
"""Name and channels of each plane: the two images premultiplied scene-linear RGBA, z along the view axis, 1 - opacity."""


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


def map_frame(path: Path, width: int, height: int, *, create: bool) -> dict[str, F32]:
    """The planes of a frame file as mapped arrays [H, W, channels] or [H, W]; ``create`` makes and opens it for writing."""
    channels = sum(FRAME_PLANES.values())
    flat = np.memmap(path, np.float32, "w+" if create else "r", shape=(channels * height * width,))
    planes: dict[str, F32] = {}
    start = 0
    for name, depth in FRAME_PLANES.items():
        size = depth * height * width
        shape = (height, width, depth) if depth > 1 else (height, width)
        planes[name] = flat[start : start + size].reshape(shape)
        start += size
    return planes


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
