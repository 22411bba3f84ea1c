# SPDX-License-Identifier: GPL-3.0-or-later
"""The render server in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exgs_blender.cameras.trajectories import extent_of, orbit, turntable
from exgs_blender.errors import CancelledError, ExgsError
from exgs_blender.render.rasterize import rasterize
from exgs_blender.sequence.finish import rgba_linear
from exgs_blender.splats import SplatObject
from exgs_blender.splats.srgb import linear_from_srgb, srgb_from_linear
from exgs_blender.worker.client import RenderServer, ServerFrame
from exgs_blender.worker.protocol import RenderSettings
from exgs_blender.worker.transfer import read_cloud, write_cloud
from tests.clouds import random_gaussians
from tests.painters import save_wild_painter

RAW = RenderSettings(restore=False)
CLOUD = random_gaussians(400, 2)
CAMERAS = orbit(extent_of(CLOUD), 3, width=70, height=50)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RenderServer]:
    server = RenderServer(Path(sys.executable), log_dir=tmp_path_factory.mktemp("log"))
    yield server
    server.close()


def test_cloud_files_round_trip(tmp_path: Path) -> None:
    again = read_cloud(tmp_path / "c", **write_cloud(tmp_path / "c", CLOUD))
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(again.arrays(), CLOUD.arrays(), strict=True))


def test_frames_equal_the_rasterizer(server: RenderServer) -> None:
    for i in range(3):
        frame = server.render([("a", SplatObject(CLOUD))], CAMERAS.select([i]), RAW)
        own = rasterize(CLOUD, CAMERAS, i)
        assert np.allclose(frame.combined, rgba_linear(own), atol=1e-6)
        assert np.allclose(frame.mask, 1 - own.alpha, atol=1e-6)
        hit = own.alpha > 1e-3
        assert np.allclose(frame.depth[hit], own.depth[hit], rtol=1e-5)
        assert (frame.depth[own.alpha == 0] == np.float32(1e10)).all()
        assert frame.backend.startswith("cpu")


def test_a_frame_that_is_held_stays_and_its_memory_is_used_again_afterwards(server: RenderServer) -> None:
    def files() -> list[str]:
        assert server._folder is not None
        return sorted(path.name for path in server._folder.glob("frame-*"))

    held = server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW)
    before = held.combined.copy()
    depth = server.render([("a", SplatObject(CLOUD))], CAMERAS.select([1]), RAW).depth  # one plane alone holds its frame, too
    taken = len(files())
    for i in (2, 1, 2):
        server.render([("a", SplatObject(CLOUD))], CAMERAS.select([i]), RAW)
    assert np.array_equal(held.combined, before)
    assert np.array_equal(depth, server.render([("a", SplatObject(CLOUD))], CAMERAS.select([1]), RAW).depth)
    assert len(files()) <= taken + 1, "frames that nobody holds any more take new memory"
    for width in (40, 50, 60, 80, 90):
        server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]).resized(width), RAW)
    assert len(files()) <= 3 + 2, "files of sizes that nobody asks for any more stay"
    assert not held.combined.flags.writeable


def test_opaque_frames_are_blended_as_trained(server: RenderServer) -> None:
    behind = np.float32([0.05, 0.3, 1.5])
    clear, opaque = (server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW, background=b) for b in (None, behind))
    alpha = clear.combined[..., 3:]
    own = srgb_from_linear(clear.combined[..., :3] / np.maximum(alpha, 1e-6))
    expected = linear_from_srgb(alpha * own + (1 - alpha) * srgb_from_linear(behind))
    assert (alpha > 0.2).any()
    assert (alpha < 0.8).any()
    assert np.allclose(opaque.combined[..., :3], expected, atol=1e-4)
    assert (opaque.combined[..., 3] == 1).all()
    assert np.array_equal(opaque.mask, clear.mask)


def test_new_key_new_content(server: RenderServer) -> None:
    other = CLOUD.select(slice(0, 50))
    a = server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW)
    b = server.render([("b", SplatObject(other))], CAMERAS.select([0]), RAW)
    again = server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW)
    assert not np.array_equal(a.combined, b.combined)
    assert np.array_equal(a.combined, again.combined)


def test_bad_request_keeps_the_server(server: RenderServer) -> None:
    server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW)
    pid = server.pid
    with pytest.raises(ExgsError, match="backend"):
        server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RenderSettings(restore=False, backend="none"))
    server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW)
    assert server.pid == pid


def test_stabilised_frames_do_not_depend_on_earlier_requests(server: RenderServer, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    settings = RenderSettings(keep_ratio=0.05, checkpoint=str(save_wild_painter(tmp_path / "model")))
    cloud = random_gaussians(2000, 1)
    solid = SplatObject(replace(cloud, opacities=np.full(len(cloud), 4.0, np.float32)))
    path = turntable(extent_of(CLOUD), 6, width=70, height=50, arc_degrees=6)

    def frame(i: int, stable: bool = True) -> ServerFrame:
        earlier = [path.select([j]) for j in range(i - 1, max(i - 5, -1), -1)]
        return server.render([("solid", solid)], path.select([i]), settings, earlier=earlier if stable else None)

    last = frame(5)
    for i in (0, 2, 4):
        frame(i)
    again, alone = frame(5), frame(5, stable=False)
    assert np.array_equal(last.combined, again.combined)
    assert np.array_equal(last.unrestored, alone.unrestored)
    assert np.abs(last.combined - alone.combined).max() > 1e-3
    server.render([("a", SplatObject(CLOUD))], path.select([4]), settings, earlier=[])  # another scene from the same place
    assert np.array_equal(frame(5).combined, last.combined)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_dead_server_is_replaced(server: RenderServer) -> None:
    server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW)
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ExgsError):  # it may die while a request is on its way; then the next one works
        server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW)
    frame = server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW)
    assert server.pid != pid
    assert frame.combined.max() > 0


def test_stop_and_go_on(server: RenderServer) -> None:
    large = CAMERAS.select([0]).resized(6000)
    with pytest.raises(CancelledError):
        server.render([("a", SplatObject(CLOUD))], large, RAW, should_stop=lambda: True)
    assert server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW).combined.max() > 0


def test_close_removes_the_files(tmp_path: Path) -> None:
    server = RenderServer(Path(sys.executable), log_dir=tmp_path)
    server.render([("a", SplatObject(CLOUD))], CAMERAS.select([0]), RAW)
    folder = server._folder
    assert folder is not None
    assert folder.is_dir()
    server.close()
    assert not folder.exists()
    assert not server.alive
