# SPDX-License-Identifier: GPL-3.0-or-later
"""The captures, and which of their views score and which judge."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from exgs_blender.cameras import Cameras, read_cameras, write_cameras
from exgs_blender.errors import FileError
from exgs_blender.evaluate.held_out import held_out_views, judging_size, training_views
from exgs_blender.formats import format_of, read, write
from exgs_blender.splats import Gaussians

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "benchmarks" / "out"
WORK = OUT / "compression"
RESULTS = ROOT / "benchmarks" / "results"
DATA = Path(os.environ.get("EXGS_DATA", ROOT.parent / "shared" / "data"))
NAMED = {
    "playbot": "playbot/0_0",
    "snowmiku": "snowmiku-trained/point_cloud.ply",
    "banana": "banana-trained/point_cloud.ply",
    "caliterra": "caliterra-trained/point_cloud.ply",
    "biker": "biker.compressed.ply",
    "guitar": "guitar.compressed.ply",
}
DEFAULT = ("playbot", "snowmiku", "banana", "caliterra")


@dataclass(frozen=True, eq=False)
class Capture:
    """A scene, ready to be compressed and judged.

    Attributes:
        name: of the scene.
        path: a PLY, the file that every method starts from.
        folder: where what is made of it goes.
        cloud: its content.
        scored: camera file for scoring and fitting, with no judging view in it; None where views are generated.
        judge: the views that judge.
        views: in words, for the table.
    """

    name: str
    path: Path
    folder: Path
    cloud: Gaussians
    scored: Path | None
    judge: Cameras
    views: str

    @property
    def bytes(self) -> int:
        """Size of the source as every ratio counts it."""
        return self.cloud.ply_bytes

    def budget(self, ratio: float) -> int:
        """Bytes that a file may have at a ratio."""
        return int(self.bytes / ratio)


JUDGES = "judges.json"
"""Beside the scored cameras: those that judge."""


def find(name: str) -> Path:
    """The file behind a scene's name or path.

    Raises:
        FileError: there is none.
    """
    path = Path(name) if Path(name).exists() else DATA / "scenes" / NAMED.get(name, name)
    if not path.exists():
        raise FileError(path, "no such scene", f"Give a file, or one of {', '.join(NAMED)} with EXGS_DATA set")
    return path


def load(name: str) -> Capture:
    """Read a scene and settle its views; what is not a PLY is written as one first.

    Views: of the files ``cameras.json`` and ``cameras_test.json`` beside the scene, the latter judge and the former without
    them score; generated orbits (two sets with different phases) where these files are missing.
    """
    path = find(name)
    label = name if name in NAMED else path.stem
    folder = folder_of(label, path)
    folder.mkdir(parents=True, exist_ok=True)
    cloud = read(path)
    source = path
    if format_of(path).name != "ply":
        path = folder / "source.ply"
        if not path.exists() or path.stat().st_mtime < source.stat().st_mtime:
            write(path, cloud)
    test = source.parent / "cameras_test.json"
    if not test.is_file():
        judge, train = held_out_views(cloud), training_views(cloud)
        words = f"{len(judge)} generated orbit views {_size(judge)}; scored on {len(train)} others {_size(train)}"
        return Capture(label, path, folder, cloud, None, judge, words)
    every, judge = read_cameras(test.with_name("cameras.json")), read_cameras(test)
    left = [i for i, camera in enumerate(every.names) if camera not in set(judge.names)]
    scored = folder / "scored.json"
    write_cameras(scored, every.select(left))
    write_cameras(folder / JUDGES, judge)
    judge = judging_size(judge)
    words = f"{len(judge)} held-out photo views {_size(judge)}; scored on {len(left)} others"
    return Capture(label, path, folder, cloud, scored, judge, words)


def folder_of(name: str, source: Path) -> Path:
    """Where a scene's files go; files of one name from different places do not meet."""
    return WORK / (name if name in NAMED else f"{name}-{sha256(str(source.resolve()).encode()).hexdigest()[:8]}")


def _size(cameras: Cameras) -> str:
    return f"{cameras.widths[0]}x{cameras.heights[0]}"
