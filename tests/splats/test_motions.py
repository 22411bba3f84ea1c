# SPDX-License-Identifier: GPL-3.0-or-later
"""What points went through is found from where they were and where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exgs_blender.splats import concatenate
from exgs_blender.splats.ellipsoids import covariances_of
from exgs_blender.splats.motions import Motions, follow, motions_between
from exgs_blender.splats.transforms import transformed
from tests.clouds import random_gaussians

F64 = NDArray[np.float64]


def turn(seed: int, mirror: bool = False) -> F64:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * (np.linalg.det(q) * (-1 if mirror else 1))


def points(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, (2, 1, 0.5), (count, 3)).astype(np.float32)


def moved(rest: Any, linear: Any, shift: Any = (0, 0, 0)) -> NDArray[np.float32]:
    """As Blender does it: single precision throughout."""
    return (rest @ np.asarray(linear, np.float32).T + np.asarray(shift, np.float32)).astype(np.float32)


def worst(found: Motions, expected: Any) -> float:
    """Largest difference from the linear parts [N, 3, 3] or [3, 3] that points went through."""
    return float(np.abs(found.linears[found.labels] - expected).max())


def wrong(found: Motions, expected: Any) -> float:
    """Share of the points whose linear part is off by more than a thousandth."""
    return float((np.abs(found.linears[found.labels] - expected).max(axis=(1, 2)) > 1e-3).mean())


LINEARS = {
    "turned": turn(1),
    "scaled": 2.5 * turn(2),
    "tiny": 1e-3 * turn(3),
    "mirrored": turn(4, mirror=True),
    "uneven": turn(5) * (1, 2, 0.3),
    "sheared": np.array([[1, 0.5, 0], [0, 1, 0], [0, 0.2, 1]]),
    "none": np.eye(3),
}


@pytest.mark.parametrize("name", LINEARS)
@pytest.mark.parametrize("shift", [(0, 0, 0), (5, -3, 100)])
def test_one_map(name: str, shift: tuple[float, ...]) -> None:
    rest, linear = points(3000), LINEARS[name]
    found = motions_between(rest, moved(rest, linear, shift))
    assert worst(found, linear) < 1e-4 * np.abs(linear).max()
    stretch = np.linalg.svd(found.linears[found.labels[0]])[1]
    if name not in ("uneven", "sheared"):
        assert stretch[0] == pytest.approx(stretch[2], rel=1e-12), "shapes would be decomposed for rounding's sake"
    assert found.turns == (name != "none")


def test_nothing_and_a_shift_turn_nothing() -> None:
    rest = points(50)
    assert not motions_between(rest, rest.copy()).turns
    assert not motions_between(rest, moved(rest, np.eye(3), (1000, 0, 0))).turns
    hole = rest.copy()
    hole[3] = np.nan
    assert not motions_between(hole, hole.copy()).turns


def test_far_from_the_origin_and_back() -> None:
    """Applied at 10 km and moved back, positions have lost half a millimetre; they still tell the map."""
    rest = points(2000)
    now = moved(moved(rest, turn(1), (10_000, 0, 0)), np.eye(3), (-10_000, 0, 0))
    assert worst(motions_between(rest, now), turn(1)) < 1e-4


@pytest.mark.parametrize("parts", [2, 5, 60])
def test_joined_parts(parts: int) -> None:
    """Duplicates of one cloud, each turned, scaled and placed in its own way, one behind the other, some points deleted."""
    cloud = points(400)
    rest, now, expected = [], [], []
    for i in range(parts):
        linear = (1 + 0.1 * (i % 7)) * turn(i)
        rest.append(cloud)
        now.append(moved(cloud, linear, (i % 8, i // 8 * 3, 0)))
        expected.append(np.repeat(linear[None], len(cloud), axis=0))
    kept = np.random.default_rng(0).random(parts * len(cloud)) < 0.6
    found = motions_between(np.concatenate(rest)[kept], np.concatenate(now)[kept])
    assert worst(found, np.concatenate(expected)[kept]) < 1e-4


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_that_a_sort_has_mixed(parts: int) -> None:
    cloud = points(3000)
    which = np.random.default_rng(3).integers(0, parts, len(cloud))
    linears = np.array([turn(i) for i in range(parts)])
    now = np.stack([moved(cloud, linear, (i, 0, 0)) for i, linear in enumerate(linears)])[which, np.arange(len(cloud))]
    assert wrong(motions_between(cloud, now), linears[which]) == 0


def test_a_selection_turned_in_edit_mode() -> None:
    """Every third point on average turned about an axis through the cloud: also those near the axis."""
    cloud = points(5000)
    chosen = np.random.default_rng(1).random(len(cloud)) < 0.3
    now = np.where(chosen[:, None], moved(cloud, turn(7)), cloud)
    expected = np.where(chosen[:, None, None], turn(7), np.eye(3))
    assert wrong(motions_between(cloud, now), expected) <= 0.001


def test_points_moved_by_hand_keep_the_turn_of_the_others() -> None:
    cloud = points(3000)
    now = moved(cloud, turn(1), (1, 2, 3))
    hand = np.random.default_rng(2).choice(len(cloud), 100, replace=False)
    now[hand] += np.random.default_rng(5).normal(size=(100, 3)).astype(np.float32)
    assert worst(motions_between(cloud, now), turn(1)) < 1e-4
    still = cloud.copy()
    still[hand] += 0.5 * np.random.default_rng(6).normal(size=(100, 3)).astype(np.float32)
    assert not motions_between(cloud, still).turns


def test_points_that_nobody_noted_are_taken_as_they_are() -> None:
    """Joining an object without the attribute fills it with zeros; they take no part in the search."""
    cloud, other = points(500), points(300, seed=1)
    rest = np.concatenate([cloud, np.zeros_like(other)])
    expected = np.concatenate([np.repeat(turn(1)[None], 500, axis=0), np.repeat(np.eye(3)[None], 300, axis=0)])
    for order in (slice(None), slice(None, None, -1)):
        now = np.concatenate([moved(cloud, turn(1)), other])
        assert worst(motions_between(rest[order].copy(), now[order].copy()), expected[order]) < 1e-4
    middle = np.concatenate([cloud, np.zeros((1, 3), np.float32)])
    assert worst(motions_between(middle, moved(middle, turn(1), (1, 0, 0))), turn(1)) < 1e-4, "a real point at the origin"


def test_few_dimensions() -> None:
    """A plane turns with its normal, a line by the smallest angle; one point, or three in a plane, tell nothing."""
    linear = 1.7 * turn(8)
    plane = points(200) * np.float32([1, 1, 0])
    assert worst(motions_between(plane, moved(plane, linear, (1, 1, 1))), linear) < 1e-4
    line = (points(200)[:, :1] * np.float32([[0.6, 0.8, 0]])).astype(np.float32)
    found = motions_between(line, moved(line, linear, (1, 1, 1)))
    direction = np.array([0.6, 0.8, 0])
    got = found.linears[found.labels[0]]
    np.testing.assert_allclose(got @ direction, linear @ direction, atol=1e-4)
    angle = np.arccos((np.trace(got / 1.7) - 1) / 2)
    assert angle == pytest.approx(np.arccos(direction @ linear @ direction / 1.7), abs=1e-3)
    assert not motions_between(points(1), moved(points(1), linear, (1, 0, 0))).turns
    assert not motions_between(points(3), moved(points(3), linear)).turns
    assert worst(motions_between(points(6), moved(points(6), linear)), linear) < 1e-4
    opposite = motions_between(line, -line)
    np.testing.assert_allclose(opposite.linears[opposite.labels[0]] @ direction, -direction, atol=1e-4)


def test_flattened_space_leaves_discs() -> None:
    cloud = random_gaussians(200, 1)
    found = motions_between(cloud.means, cloud.means * np.float32([1, 1, 0]))
    flat = follow(cloud, found)
    assert flat.nonfinite_field() is None
    assert np.exp(np.ptp(flat.scales, axis=1)).min() > 100


def test_noise_does_not_turn() -> None:
    """A node that shakes each point by 2 % leaves the turn that was applied before."""
    rest = points(3000)
    now = moved(rest, turn(1)) + np.random.default_rng(10).normal(0, 0.02, rest.shape).astype(np.float32)
    assert worst(motions_between(rest, now), turn(1)) < 5e-3


def test_nothing_in_common_is_no_map() -> None:
    rest = points(3000)
    assert not motions_between(rest, points(3000, seed=9)).turns


def test_splats_follow() -> None:
    """Shapes and colours are those of the transform itself; positions are not touched."""
    first, second = random_gaussians(300, 3, seed=1), random_gaussians(200, 3, seed=2)
    matrices = [np.eye(4), np.eye(4)]
    matrices[0][:3, :3], matrices[1][:3, :3] = LINEARS["uneven"], LINEARS["mirrored"]
    wanted = [transformed(cloud, matrix) for cloud, matrix in zip((first, second), matrices, strict=True)]
    expected, raw = concatenate(wanted), concatenate([first, second])
    found = follow(raw, motions_between(raw.means, expected.means))
    np.testing.assert_array_equal(found.means, raw.means)
    np.testing.assert_allclose(found.shN, expected.shN, atol=1e-4)
    np.testing.assert_allclose(found.scales, expected.scales, atol=1e-3)
    np.testing.assert_allclose(covariances_of(found), covariances_of(expected), atol=1e-6)


def test_no_points() -> None:
    assert not motions_between(points(0), points(0)).turns
