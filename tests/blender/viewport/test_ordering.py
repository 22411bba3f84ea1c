# SPDX-License-Identifier: GPL-3.0-or-later
"""What is drawn, and in which order. No Blender needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from exgs_blender.blender.viewport.ordering import Placed, depth_order, view_order

EVERYTHING = 10**9


def _turned(angle: float) -> NDArray[np.float64]:
    """A rotation about +y."""
    matrix = np.eye(4)
    matrix[[0, 0, 2, 2], [0, 2, 0, 2]] = np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)
    return matrix


def _perspective(view_from_world: NDArray[np.float64]) -> NDArray[np.float64]:
    projection = np.diag([2.0, 2.0, -1.0, 0.0])
    projection[2, 3], projection[3, 2] = -0.2, -1.0
    return projection @ view_from_world


def _placed(count: int, seed: int = 0, world_from_object: NDArray[np.float64] | None = None) -> Placed:
    rng = np.random.default_rng(seed)
    significance = rng.uniform(0, 1, count).astype(np.float32)
    return Placed(
        rng.normal(size=(count, 3)).astype(np.float32), significance, np.eye(4) if world_from_object is None else world_from_object
    )


def _depths(placed: list[Placed], slots: NDArray[np.float32], view_from_world: NDArray[np.float64]) -> NDArray[np.float64]:
    found = []
    for splat, instance in slots.astype(int):
        item = placed[instance]
        found.append(-(view_from_world @ item.world_from_object @ np.append(item.means[splat], 1.0))[2])
    return np.array(found)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100), max_size=50))
def test_radix_order_is_the_order(values: list[float]) -> None:
    depths = np.array(values, np.float32)
    order = depth_order(depths)
    assert sorted(order) == list(range(len(depths)))
    assert (np.diff(depths[order]) <= 0).all()


def test_equal_depths_are_a_stable_order_when_reversed() -> None:
    np.testing.assert_array_equal(depth_order(np.array([1, 5, 1, 5, 1], np.float32))[::-1], [0, 2, 4, 1, 3])


@pytest.mark.parametrize("ortho", [False, True])
def test_one_order_over_all_objects(ortho: bool) -> None:
    """Objects that interpenetrate sort splat by splat, however they are moved, turned and scaled (KIRI #68)."""
    moved = np.diag([1.5, 0.5, 2.0, 1.0])
    moved[:3, 3] = 0.3, 0.1, -0.4
    placed = [_placed(300), _placed(200, 1, moved), _placed(0, 2)]
    view = _turned(0.7)
    clip = np.diag([0.1, 0.1, -0.01, 1.0]) @ view if ortho else _perspective(view)
    slots = view_order(placed, clip, EVERYTHING)
    assert len(np.unique(slots, axis=0)) == 500
    depths = _depths(placed, slots, view)
    assert (np.diff(depths) <= 1e-5).all()
    assert (np.diff(slots[:, 1]) != 0).sum() > 100, "the objects were drawn one after the other"


def test_turning_in_place_changes_the_order_and_loses_nothing() -> None:
    """KIRI #68, #13: a camera that turned without moving kept the old order, and splats vanished."""
    placed = [_placed(500)]
    before, after = (view_order(placed, _perspective(_turned(angle)), EVERYTHING) for angle in (0.0, 1.5))
    assert len(before) == len(after) == 500
    assert not np.array_equal(before, after)
    assert (np.diff(_depths(placed, after, _turned(1.5))) <= 1e-5).all()


def test_moving_without_turning_keeps_the_order() -> None:
    """Why a view that only moves needs no new order: depth along the view axis shifts for all alike."""
    placed, moved = [_placed(500)], np.eye(4)
    moved[:3, 3] = 0.5, -0.25, -3
    np.testing.assert_array_equal(
        view_order(placed, _perspective(moved), EVERYTHING), view_order(placed, _perspective(np.eye(4)), EVERYTHING)
    )


def test_a_budget_keeps_the_most_significant_that_are_seen() -> None:
    view = np.eye(4)
    view[2, 3] = -6
    placed = [_placed(400)]
    slots = view_order(placed, _perspective(view), 100)[:, 0].astype(int)
    kept = placed[0].significance[slots].min()
    left = np.setdiff1d(np.arange(400), slots)
    assert len(slots) == 100
    assert (placed[0].significance[left] <= kept).all()
    assert (np.diff(_depths(placed, view_order(placed, _perspective(view), 100), view)) <= 1e-5).all()


def test_a_budget_goes_first_to_what_the_view_sees() -> None:
    aside = np.eye(4)
    aside[0, 3] = 1000
    placed = [_placed(50), Placed(_placed(50).means, np.full(50, 9, np.float32), aside)]
    view = np.eye(4)
    view[2, 3] = -8
    slots = view_order(placed, _perspective(view), 60)
    assert (slots[:, 1] == 0).sum() == 50
    assert (slots[:, 1] == 1).sum() == 10


def test_a_budget_is_stable_while_the_camera_moves_a_little() -> None:
    view, moved = np.eye(4), _turned(0.01)
    view[2, 3] = moved[2, 3] = -6
    first, second = (set(view_order([_placed(2000)], _perspective(v), 500)[:, 0]) for v in (view, moved))
    assert len(first & second) > 490


def test_a_larger_object_counts_for_more() -> None:
    large = np.diag([10.0, 10.0, 10.0, 1.0])
    view = np.eye(4)
    view[2, 3] = -60
    slots = view_order([_placed(100), _placed(100, 0, large)], _perspective(view), 100)
    assert (slots[:, 1] == 1).sum() > 90
