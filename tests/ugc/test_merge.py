# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.splats import BlendStatistics, Gaussians
from exgs_blender.splats.ellipsoids import covariances_of
from exgs_blender.ugc import merge_kernels as kernels
from exgs_blender.ugc.merge import cheapest_first, gaussians_of, reduce_to, start_merging

from ..clouds import random_gaussians
from .made_up import random_statistics


def _statistics(weights: list[float]) -> BlendStatistics:
    w = np.array(weights, np.float32)
    return BlendStatistics(1000, w, np.full(len(w), 0.5, np.float32), w, w, w, w * 1e-8)


@pytest.mark.parametrize("count", [1, 2, 9, 300, 2000])
def test_neighbours_are_the_nearest(count: int) -> None:
    points = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    levels = max(int(np.ceil(np.log2(count / kernels.LEAF))), 0)
    order, axes, values = kernels.build_tree(points, levels)
    assert sorted(order) == list(range(count))
    near = kernels.neighbours(points[order], axes, values, levels, 8)
    distance = np.square(points[order][:, None] - points[order][None]).sum(-1)
    np.fill_diagonal(distance, np.inf)
    expected = np.sort(distance, axis=1)[:, :8]
    for row in range(count):
        found = near[row][near[row] >= 0]
        assert len(found) == min(8, count - 1)
        np.testing.assert_allclose(distance[row][found], expected[row][: len(found)], rtol=1e-5)


def test_neighbours_among_identical_points() -> None:
    points = np.zeros((100, 3), np.float32)
    order, axes, values = kernels.build_tree(points, 4)
    assert (kernels.neighbours(points[order], axes, values, 4, 8) >= 0).all()


def test_merging_conserves_mass_mean_and_second_moment() -> None:
    cloud = random_gaussians(2, 1, seed=4)
    merged = gaussians_of(reduce_to(start_merging(cloud, _statistics([3.0, 1.0])), 1))
    weight = np.array([0.75, 0.25])
    mean = weight @ cloud.means
    np.testing.assert_allclose(merged.means[0], mean, atol=1e-6)
    np.testing.assert_allclose(merged.sh0[0], np.tensordot(weight, cloud.sh0, 1), atol=1e-5)
    np.testing.assert_allclose(merged.shN[0], np.tensordot(weight, cloud.shN, 1), atol=1e-5)
    offset = cloud.means - mean
    outer = np.einsum("ni,nj->nij", offset, offset)[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    expected = weight @ (covariances_of(cloud) + outer)
    np.testing.assert_allclose(covariances_of(merged)[0], expected, atol=1e-5 * np.abs(expected).max())


def test_two_halves_of_one_splat_become_it_again() -> None:
    """Equal twins on one spot: the optical depths add, so 1 - (1 - o)^2 comes out; colour and shape stay."""
    one = random_gaussians(1, 2, seed=1)
    twins = one.select(np.zeros(2, int))
    merged = gaussians_of(reduce_to(start_merging(twins, _statistics([1.0, 1.0])), 1))
    opacity = 1 / (1 + np.exp(-float(one.opacities[0])))
    assert 1 / (1 + np.exp(-float(merged.opacities[0]))) == pytest.approx(min(1 - (1 - opacity) ** 2, 0.995), rel=1e-4)
    np.testing.assert_allclose(covariances_of(merged), covariances_of(one), rtol=1e-3, atol=1e-9)


def test_the_cost_of_a_pair_is_the_squared_error_of_the_images() -> None:
    """Against images on a pixel grid: the three axis-aligned shadows of both splats, and of their merger."""
    cloud = random_gaussians(2, 0, seed=7)
    state = start_merging(cloud, _statistics([2.0, 1.0]))
    near = np.array([[1], [0]], np.int32)
    cost = float(np.nanmin(kernels.pair_costs(state.table, near)))
    merged = np.empty(kernels.COLUMNS)
    kernels.merge_pair(state.table[0], state.table[1], merged)
    expected = sum(_image_error([*state.table, merged], plane) for plane in ((0, 1), (0, 2), (1, 2)))
    assert cost * 2 * np.pi == pytest.approx(expected, rel=1e-3)


def _image_error(rows: list[np.ndarray], plane: tuple[int, int]) -> float:
    """Integral of (a + b - m)^2 over alpha and, with weight 3, RGB in one shadow, by summing pixels."""
    step, columns = 0.02, {(0, 0): 3, (0, 1): 4, (0, 2): 5, (1, 1): 6, (1, 2): 7, (2, 2): 8}
    x = np.arange(-6, 6, step)
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
    error = np.zeros((len(x), len(x), 4))
    for row, sign in zip(rows, (1, 1, -1), strict=True):
        i, j = plane
        cov = np.array([[row[columns[i, i]], row[columns[i, j]]], [row[columns[i, j]], row[columns[j, j]]]]) + row[kernels.BLUR] * np.eye(2)
        offset = grid - row[[i, j]]
        image = row[kernels.OPACITY] * row[kernels.SEEN] * np.exp(-0.5 * np.einsum("...i,ij,...j", offset, np.linalg.inv(cov), offset))
        channels = np.concatenate([[1], np.sqrt(3) * row[[kernels.RED, kernels.GREEN, kernels.BLUE]]])
        error += sign * image[..., None] * channels
    return float(np.square(error).sum()) * step**2


def test_unseen_gaussians_go_and_the_count_is_reached() -> None:
    cloud, statistics = random_gaussians(3000, 1), random_statistics(3000)
    state = start_merging(cloud, statistics)
    assert len(state) == int((statistics.weight_max >= 1 / 255).sum()) < 3000
    for count in (2000, 300, 1):
        state = reduce_to(state, count)
        assert len(state) == count
        assert gaussians_of(state).nonfinite_field() is None


def test_mass_is_conserved_over_rounds_and_runs_repeat() -> None:
    cloud, statistics = random_gaussians(2000, 0), random_statistics(2000)
    start = start_merging(cloud, statistics)
    a, b = reduce_to(start, 100), reduce_to(start, 100)
    assert a.table[:, kernels.MASS].sum() == pytest.approx(start.table[:, kernels.MASS].sum(), rel=1e-9)
    np.testing.assert_array_equal(a.table, b.table)


def test_flat_and_tiny_gaussians_survive() -> None:
    cloud = random_gaussians(500, 0)
    flat = Gaussians(cloud.means, cloud.quats, cloud.scales - np.array([30, 0, 0]), cloud.opacities, cloud.sh0, cloud.shN)
    assert gaussians_of(reduce_to(start_merging(flat, random_statistics(500)), 50)).nonfinite_field() is None


def test_cheapest_first_is_a_stable_argsort() -> None:
    rng = np.random.default_rng(9)
    costs = rng.integers(0, 40, 3000).astype(np.float32) * np.float32(1e-3)
    costs[::7], costs[5], costs[8] = np.inf, -0.0, 3e38
    finite = np.flatnonzero(np.isfinite(costs))
    assert np.array_equal(cheapest_first(costs), finite[np.argsort(costs[finite], kind="stable")])


def test_merging_leaves_the_state_as_it_was() -> None:
    cloud = random_gaussians(300, 1, seed=10)
    state = start_merging(cloud, random_statistics(300))
    before = state.table.copy(), state.rows.copy()
    reduce_to(state, 60)
    assert np.array_equal(state.table, before[0])
    assert np.array_equal(state.rows, before[1])


def test_colours_of_many_members_are_their_mean_by_mass() -> None:
    cloud, statistics = random_gaussians(900, 2, seed=3), random_statistics(900)
    state = reduce_to(reduce_to(start_merging(cloud, statistics), 300), 40)
    merged, masses = gaussians_of(state), np.maximum(statistics.weight_sum.astype(np.float64), 1e-12)
    seen = state.rows >= 0
    assert np.array_equal(seen, statistics.weight_max >= 1 / 255)
    for row in range(40):
        members = state.rows == row
        assert masses[members].sum() == pytest.approx(state.table[row, kernels.MASS])
        np.testing.assert_allclose(merged.shN[row], np.average(cloud.shN[members], axis=0, weights=masses[members]), atol=1e-5)
        np.testing.assert_allclose(merged.means[row], np.average(cloud.means[members], axis=0, weights=masses[members]), atol=1e-4)
