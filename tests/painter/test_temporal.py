# SPDX-License-Identifier: GPL-3.0-or-later
"""The averaging of changes on a textured plane whose every pixel is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba")

from exgs_blender.cameras import Cameras
from exgs_blender.painter.temporal import WINDOW, Change, change_of, is_cut, same_view, stabilised
from exgs_blender.render.frame import Backend, Frame
from exgs_blender.worker.protocol import STEADY_FRAMES

HEIGHT, WIDTH = 60, 80
DISTANCE = 4.0
MARGIN = 12
INNER = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))


def camera(number: int, model: str = "pinhole", shift: float = 0.02, turn: float = 0.008) -> Cameras:
    """Goes to the right, turns left and zooms in a little with every frame."""
    angle = turn * number
    viewmat = np.eye(4)
    viewmat[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    viewmat[:3, 3] = -viewmat[:3, :3] @ [shift * number, 0, -DISTANCE]
    focal = (90.0 if model == "pinhole" else 22.0) * (1 + 0.01 * number)
    K = np.array([[focal, 0, WIDTH / 2 + 1], [0, focal, HEIGHT / 2], [0, 0, 1.0]])
    size = {"widths": np.array([WIDTH]), "heights": np.array([HEIGHT])}
    return Cameras(viewmat[None], K[None], **size, frames=np.array([number]), names=(str(number),), camera_model=model)  # type: ignore[arg-type]


def on_plane(view: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel's ray meets the plane z = 0 of the world, [H, W, 2], and the depth there, [H, W]."""
    v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    K, world_from_cam = view.Ks[0], view.world_from_cam()[0]
    x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    if view.camera_model == "pinhole":
        start, ray = np.zeros((HEIGHT, WIDTH, 3)), np.stack([x, y, np.ones_like(x)], axis=2)
    else:
        start, ray = np.stack([x, y, np.zeros_like(x)], axis=2), np.broadcast_to([0.0, 0.0, 1.0], (HEIGHT, WIDTH, 3))
    start, ray = start @ world_from_cam[:3, :3].T + world_from_cam[:3, 3], ray @ world_from_cam[:3, :3].T
    depth = -start[..., 2] / ray[..., 2]
    return (start + depth[..., None] * ray)[..., :2], depth.astype(np.float32)


def texture(place: np.ndarray) -> np.ndarray:
    """A smooth change [H, W, 4] painted on the plane."""
    x, y = place[..., 0], place[..., 1]
    return 0.05 * np.stack([np.sin(3 * x), np.cos(2 * y), np.sin(2 * x + 2 * y), np.cos(x - y)], axis=2)


def rendered(view: Cameras) -> Frame:
    alpha = np.full((HEIGHT, WIDTH), 0.7, np.float32)
    return Frame(np.full((HEIGHT, WIDTH, 3), 0.35, np.float32), alpha, on_plane(view)[1], Backend("none", "made up"))


def painted(frame: Frame, change: np.ndarray) -> Frame:
    return replace(frame, rgb=(frame.rgb + change[..., :3]).astype(np.float32), alpha=(frame.alpha + change[..., 3]).astype(np.float32))


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.1, 0.1, (HEIGHT, WIDTH, 4))


def earlier_change(number: int, model: str = "pinhole") -> Change:
    """The texture, painted on the frame of a camera."""
    view = camera(number, model)
    frame = rendered(view)
    return change_of(view, frame, painted(frame, texture(on_plane(view)[0])))


def noisy_frame(model: str = "pinhole") -> tuple[Frame, Frame, Change]:
    """Frame 4: rendered; with noise painted on it, so that any smaller value lies within its neighbours' range; the change."""
    view = camera(4, model)
    frame = rendered(view)
    restored = painted(frame, noise(0))
    return frame, restored, change_of(view, frame, restored)


def added(frame: Frame, made: Frame) -> np.ndarray:
    return np.concatenate([made.rgb - frame.rgb, (made.alpha - frame.alpha)[..., None]], axis=2)


@pytest.mark.parametrize("model", ["pinhole", "ortho"])
@pytest.mark.parametrize("number", [3, 0])
def test_earlier_changes_stay_on_their_surface(model: str, number: int) -> None:
    """Half own noise, half texture of the place: only the right pixel of the earlier frame gives that."""
    frame, restored, own = noisy_frame(model)
    made = stabilised(frame, restored, own, [earlier_change(number, model)])
    brought_in = 2 * added(frame, made) - own.rgba
    place, _ = on_plane(own.view)
    unmoved = np.abs(own.rgba - texture(place))[INNER].max()
    error = np.abs(brought_in - texture(place))[INNER]
    assert unmoved > 0.1
    assert np.median(error) < 2e-4
    assert (error > 2e-3).mean() < 0.01, "more than what the range of so few noisy neighbours cuts off"


def test_a_full_window_is_the_mean() -> None:
    frame, restored, own = noisy_frame()
    made = stabilised(frame, restored, own, [earlier_change(i) for i in (3, 2, 1, 0)])
    expected = (own.rgba + WINDOW * texture(on_plane(own.view)[0])) / (1 + WINDOW)
    assert np.quantile(np.abs(added(frame, made) - expected)[INNER], 0.99) < 2e-3


def test_hidden_surfaces_bring_nothing_in() -> None:
    """Where something stood in front in the earlier frame, the frame keeps its own change to the bit."""
    frame, restored, own = noisy_frame()
    change = earlier_change(3)
    depth = change.depth.copy()
    depth[20:40, 30:50] *= 0.5
    made = stabilised(frame, restored, own, [replace(change, depth=depth)])
    hidden = (slice(23, 37), slice(33, 47))
    assert np.array_equal(made.rgb[hidden], restored.rgb[hidden])
    assert np.array_equal(made.alpha[hidden], restored.alpha[hidden])
    assert (made.rgb[:15, 20:60] != restored.rgb[:15, 20:60]).mean() > 0.9


def test_uncovered_pixels_bring_nothing_in() -> None:
    frame, restored, own = noisy_frame()
    change = earlier_change(3)
    nothing = replace(change, depth=np.where(np.arange(WIDTH) < 40, change.depth, 0).astype(np.float32))
    made = stabilised(frame, restored, own, [nothing])
    assert np.array_equal(made.rgb[:, 45:], restored.rgb[:, 45:])
    assert not np.array_equal(made.rgb[:, :35], restored.rgb[:, :35])


def test_nothing_beyond_the_neighbours_range() -> None:
    """An earlier change that the frame's own neighbourhood does not show is cut down to what it shows."""
    frame = rendered(camera(4))
    own = np.zeros((HEIGHT, WIDTH, 4))
    own[30, 40] = 0.04
    restored = painted(frame, own)
    change = earlier_change(3)
    strong = replace(change, rgba=np.full_like(change.rgba, 0.2))
    made = added(frame, stabilised(frame, restored, change_of(camera(4), frame, restored), [strong]))
    near = np.zeros((HEIGHT, WIDTH), bool)
    near[28:33, 38:43] = True
    assert (made[~near] == 0).all()
    assert np.allclose(made[near], np.where(own[near] > 0, 0.04, 0.02), atol=1e-6)


def test_without_any_change_the_frame_stays_to_the_bit() -> None:
    frame = rendered(camera(4))
    made = stabilised(frame, frame, change_of(camera(4), frame, frame), _must_not_be_asked())
    assert made is frame
    left = np.where(np.arange(WIDTH)[:, None] < 40, noise(0), 0)
    restored = painted(frame, left)
    made = stabilised(frame, restored, change_of(camera(4), frame, restored), [earlier_change(3)])
    assert np.array_equal(made.rgb[:, 42:], frame.rgb[:, 42:])
    assert np.array_equal(made.alpha[:, 42:], frame.alpha[:, 42:])
    assert not np.array_equal(made.rgb[:, :40], restored.rgb[:, :40])


def test_a_still_camera_changes_nothing() -> None:
    frame, restored, own = noisy_frame()
    assert stabilised(frame, restored, own, [own] * WINDOW) is restored
    assert same_view(camera(4), camera(4))


def test_a_cut_ends_the_window() -> None:
    frame, restored, own = noisy_frame()
    turned_away, far_aside = camera(3, turn=0.4), camera(3, shift=0.6, turn=0.0)
    for view in (turned_away, far_aside):
        change = replace(earlier_change(3), view=view, depth=on_plane(view)[1])
        assert is_cut(own, change)
        assert stabilised(frame, restored, own, _then_fail(change)) is restored
    assert not is_cut(own, earlier_change(0))
    small = replace(earlier_change(3), depth=np.ones((HEIGHT // 2, WIDTH), np.float32))
    assert is_cut(own, small)
    one = stabilised(frame, restored, own, [earlier_change(3)])
    cut_behind = stabilised(frame, restored, own, [earlier_change(3), small, earlier_change(1)])
    assert np.array_equal(one.rgb, cut_behind.rgb)


def test_stays_premultiplied() -> None:
    """Painting up to the limits and averaging never leaves 0 <= rgb <= alpha <= 1."""
    frame = rendered(camera(4))
    strong = 5 * noise(3)
    limited = replace(frame, alpha=np.clip(frame.alpha + strong[..., 3], 0, 1).astype(np.float32))
    restored = replace(limited, rgb=np.clip(frame.rgb + strong[..., :3], 0, limited.alpha[..., None]).astype(np.float32))
    earlier = [replace(earlier_change(i), rgba=(5 * noise(i)).astype(np.float32)) for i in (3, 2)]
    made = stabilised(frame, restored, change_of(camera(4), frame, restored), earlier)
    assert made.rgb.min() >= 0
    assert made.alpha.min() >= 0
    assert made.alpha.max() <= 1
    assert (made.rgb <= np.maximum(made.alpha[..., None], frame.rgb)).all()
    assert not np.array_equal(made.rgb, restored.rgb)


def test_blender_sends_as_many_views_as_are_used() -> None:
    assert STEADY_FRAMES == WINDOW


def _must_not_be_asked() -> Iterator[Change]:
    raise AssertionError("asked for earlier frames without need")
    yield


def _then_fail(change: Change) -> Iterator[Change]:
    yield change
    raise AssertionError("asked for frames from behind a cut")
