# SPDX-License-Identifier: GPL-3.0-or-later
"""The fast rasterizer against the slow reference, and where it could break."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from exgs_blender.cameras.trajectories import extent_of
from exgs_blender.errors import CancelledError, ExgsError
from exgs_blender.render.rasterize import choose_backend, rasterize, rasterize_all
from exgs_blender.splats import Gaussians, SplatObject
from tests.clouds import random_gaussians

from .views import around, assert_same_image

SHEAR = np.array([[1.3, 0.4, 0.0, 0.2], [0.0, 0.6, -0.3, 0.1], [0.1, 0.0, -0.9, 0.0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("ortho", [False, True], ids=["pinhole", "ortho"])
@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize(("count", "degree"), [(400, 3), (1500, 1), (30, 4), (60, 0)])
def test_equals_reference(count: int, degree: int, mode: str, ortho: bool) -> None:
    cloud = random_gaussians(count, degree, seed=count)
    cameras = around(cloud, ortho=ortho)
    expected = rasterize(cloud, cameras, 1, backend="reference", rasterize_mode=mode)
    assert expected.alpha.max() > 0.5
    assert_same_image(rasterize(cloud, cameras, 1, backend="cpu", rasterize_mode=mode), expected)


@pytest.mark.parametrize("ortho", [False, True], ids=["pinhole", "ortho"])
def test_two_interleaved_objects_under_affine_transforms(ortho: bool) -> None:
    first, second = random_gaussians(300, 2, seed=1), random_gaussians(200, 0, seed=2)
    scene = [SplatObject(first, SHEAR), SplatObject(second)]
    cameras = around(first, ortho=ortho, distance=2.0)
    expected = rasterize(scene, cameras, 0, backend="reference")
    assert_same_image(rasterize(scene, cameras, 0, backend="cpu"), expected)


def test_moving_object_and_camera_together_changes_nothing() -> None:
    """World space is arbitrary: SH turns with the object, so the image stays."""
    cloud = random_gaussians(300, 3, seed=5)
    cameras = around(cloud)
    angle = 0.7
    motion = np.eye(4)
    motion[:3, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    motion[:3, 3] = [3.0, -2.0, 1.0]
    moved = replace(cameras, viewmats=cameras.viewmats @ np.linalg.inv(motion))
    assert_same_image(rasterize(SplatObject(cloud, motion), moved, 0, backend="cpu"), rasterize(cloud, cameras, 0, backend="cpu"))


def test_image_does_not_depend_on_where_tiles_lie() -> None:
    """A crop that starts 5 columns and 11 rows into the image shows the same pixels."""
    cloud = random_gaussians(500, 1, seed=3)
    whole = around(cloud, width=150, height=120)
    Ks = whole.Ks.copy()
    Ks[:, 0, 2] -= 5
    Ks[:, 1, 2] -= 11
    crop = replace(whole, Ks=Ks, widths=whole.widths - 5, heights=whole.heights - 11)
    # The projection's derivative is limited relative to the image, so only splats well inside may be compared.
    part = rasterize(cloud, crop, 0, backend="cpu").rgb[20:-20, 20:-20]
    assert np.abs(part - rasterize(cloud, whole, 0, backend="cpu").rgb[31:-20, 25:-20]).max() < 0.02


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_give_identical_frames(threads: int) -> None:
    cloud = random_gaussians(800, 2, seed=4)
    cameras = around(cloud)
    a, b = rasterize(cloud, cameras, backend="cpu", threads=threads), rasterize(cloud, cameras, backend="cpu")
    assert np.array_equal(a.rgb, b.rgb)
    assert np.array_equal(a.depth, b.depth)


@pytest.mark.parametrize("size", [(1, 1), (16, 64), (17, 65), (5, 200)])
def test_any_image_size(size: tuple[int, int]) -> None:
    cloud = random_gaussians(50, 0, seed=6)
    cameras = around(cloud, width=size[0], height=size[1])
    assert_same_image(rasterize(cloud, cameras, 0, backend="cpu"), rasterize(cloud, cameras, 0, backend="reference"))


def test_no_gaussians() -> None:
    cameras = around(random_gaussians(10))
    for scene in (random_gaussians(0), [], SplatObject(random_gaussians(0, 1))):
        frame = rasterize(scene, cameras, 0, backend="cpu")
        assert frame.rgb.shape == (93, 131, 3)
        assert not frame.rgb.any()
        assert not frame.alpha.any()
        assert not frame.depth.any()


def test_everything_behind_the_camera() -> None:
    cloud = random_gaussians(20)
    cameras = around(cloud, distance=3.0)
    behind = replace(cameras, viewmats=np.diag([1.0, -1, -1, 1]) @ cameras.viewmats)
    assert not rasterize(cloud, behind, 0, backend="cpu").alpha.any()


def _one(mean: tuple[float, float, float], scale: float, opacity_logit: float = 3.0, colour: float = 0.0) -> Gaussians:
    return Gaussians(
        means=np.array([mean]),
        quats=np.array([[1.0, 0, 0, 0]]),
        scales=np.full((1, 3), np.log(scale)),
        opacities=np.array([opacity_logit]),
        sh0=np.full((1, 1, 3), colour),
        shN=np.zeros((1, 0, 3)),
    )


def test_one_gaussian_has_its_opacity_at_its_centre_and_its_depth() -> None:
    cameras = around(random_gaussians(50), width=101, height=101, distance=2.0)
    frame = rasterize(_one(tuple(extent_of(random_gaussians(50)).centre), 0.05), cameras, 0, backend="cpu")
    peak = np.unravel_index(np.argmax(frame.alpha), frame.alpha.shape)
    assert tuple(peak) == (50, 50)
    assert frame.alpha[peak] == pytest.approx(1 / (1 + np.exp(-3.0)), abs=1e-5)
    assert frame.rgb[peak] == pytest.approx(0.5 * frame.alpha[peak], abs=1e-5)
    hit = frame.alpha > 0
    assert np.ptp(frame.depth[hit]) < 1e-4


def test_colour_is_clipped_below_but_not_above() -> None:
    cameras = around(random_gaussians(50), width=33, height=33, distance=2.0)
    centre = tuple(extent_of(random_gaussians(50)).centre)
    assert rasterize(_one(centre, 0.3, 9.0, colour=8.0), cameras, 0, backend="cpu").rgb.max() > 2.0
    assert rasterize(_one(centre, 0.3, 9.0, colour=-8.0), cameras, 0, backend="cpu").rgb.min() == 0.0


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_tiny_and_huge_gaussians(scale: float) -> None:
    cloud = random_gaussians(12, 1, seed=8)
    cloud = replace(cloud, scales=cloud.scales * 0 + np.float32(np.log(scale)))
    cameras = around(cloud, distance=2.5)
    assert_same_image(rasterize(cloud, cameras, 0, backend="cpu"), rasterize(cloud, cameras, 0, backend="reference"))


def test_needles_and_degenerate_shapes_stay_finite() -> None:
    cloud = random_gaussians(60, 1, seed=9)
    scales = cloud.scales.copy()
    scales[:20] = [0.0, -12.0, -12.0]
    scales[20:22] = 60.0
    scales[22:24] = np.nan
    means = cloud.means.copy()
    means[24] = np.nan
    quats = cloud.quats.copy()
    quats[25] = 0.0
    bad = replace(cloud, scales=scales, means=means, quats=quats)
    frame = rasterize(bad, around(cloud), 0, backend="cpu")
    assert np.isfinite(frame.rgb).all()
    assert np.isfinite(frame.depth).all()
    good = np.r_[np.arange(20), np.arange(25, 60)]
    usable = bad.select(good)
    cameras = around(cloud)
    assert_same_image(rasterize(usable, cameras, 0, backend="cpu"), rasterize(usable, cameras, 0, backend="reference"))


def test_all_frames_equal_single_ones_and_report() -> None:
    cloud = random_gaussians(100, 1)
    cameras = around(cloud, 3)
    seen: list[float] = []
    frames = list(rasterize_all(cloud, cameras, backend="cpu", report=lambda stage, fraction: seen.append(fraction)))
    assert seen == pytest.approx([0, 1 / 3, 2 / 3, 1])
    for index, frame in enumerate(frames):
        assert np.array_equal(frame.rgb, rasterize(cloud, cameras, index, backend="cpu").rgb)


def test_cancelled_between_frames() -> None:
    def stop(stage: str, fraction: float) -> None:
        if fraction > 0:
            raise CancelledError

    cloud = random_gaussians(10)
    with pytest.raises(CancelledError):
        list(rasterize_all(cloud, around(cloud), backend="cpu", report=stop))


def test_backend_says_what_and_why() -> None:
    torch = pytest.importorskip("torch")
    chosen = choose_backend("auto")
    assert (chosen.name == "gsplat") == torch.cuda.is_available()
    assert torch.cuda.is_available() or chosen.reason == "no CUDA device"
    cloud = random_gaussians(10)
    frame = rasterize(cloud, around(cloud), backend="cpu", threads=1)
    assert frame.backend.name == "cpu"
    assert "asked for" in frame.backend.reason
    assert "1 thread" in frame.backend.reason


def test_torch_is_left_alone_where_there_is_no_driver() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("gsplat")
    code = """
import sys
from exgs_blender.render import rasterize
rasterize.CUDA_DRIVERS = {}
chosen = rasterize.choose_backend("auto")
print(chosen.name, chosen.reason, "torch" in sys.modules, sep=", ")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cpu, no CUDA device, False"


def test_bad_requests_are_one_line_errors() -> None:
    cloud = random_gaussians(10)
    cameras = around(cloud)
    with pytest.raises(ExgsError, match="camera 7 does not exist"):
        rasterize(cloud, cameras, 7, backend="cpu")
    with pytest.raises(ExgsError, match="backend is 'vulkan'"):
        choose_backend("vulkan")  # type: ignore[arg-type]
    with pytest.raises(ExgsError, match="rasterize_mode"):
        rasterize(cloud, cameras, backend="cpu", rasterize_mode="fast")  # type: ignore[arg-type]
    with pytest.raises(ExgsError, match="determinant 0"):
        rasterize(SplatObject(cloud, np.diag([1.0, 1, 0, 1])), cameras, backend="cpu")
