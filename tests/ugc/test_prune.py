# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.errors import ExgsError
from exgs_blender.splats.activation import opacity_from_logit
from exgs_blender.ugc.amplify import amplify, local_loss, search_growth
from exgs_blender.ugc.prune import default_edge, voxel_sample, voxels_of
from exgs_blender.ugc.score import paper_score, visible

from ..clouds import random_gaussians
from .made_up import random_statistics


def test_the_score_is_the_papers_sum() -> None:
    cloud, statistics = random_gaussians(50), random_statistics(50)
    expected = opacity_from_logit(cloud.opacities) * statistics.transmittance_sum / statistics.pixels
    np.testing.assert_allclose(paper_score(statistics, cloud.opacities), expected, rtol=1e-6)
    assert not visible(statistics)[statistics.hits == 0].any()


def test_statistics_of_another_cloud_are_refused() -> None:
    with pytest.raises(ExgsError, match="statistics are of 49 Gaussians, the cloud has 50"):
        paper_score(random_statistics(49), random_gaussians(50).opacities)


@pytest.mark.parametrize("count", [0, 1, 37, 500, 4999, 5000, 9000])
@pytest.mark.parametrize("edge", [None, 1e-6, 0.2, 1e3])
def test_the_count_is_exact(count: int, edge: float | None) -> None:
    cloud, score = random_gaussians(5000, 0), random_statistics(5000).weight_sum
    kept = voxel_sample(cloud.means, score, count, edge)
    assert len(kept) == len(np.unique(kept)) == min(count, 5000)


def test_each_full_voxel_keeps_its_best() -> None:
    cloud, score = random_gaussians(5000, 0), random_statistics(5000).weight_sum
    edge, count = 0.5, 500
    kept = np.zeros(5000, bool)
    kept[voxel_sample(cloud.means, score, count, edge)] = True
    voxel = voxels_of(cloud.means, edge)
    for v in np.unique(voxel):
        inside = voxel == v
        best = score[inside & kept].min()
        assert (score[inside & ~kept] <= best).all()
        assert abs(kept[inside].sum() - 0.1 * inside.sum()) <= 0.1 * inside.sum() + 1


def test_small_voxels_compete_globally() -> None:
    """The paper's "at least one" everywhere would keep all of these; the best tenth must stay instead."""
    means = np.arange(1000, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    score = np.random.default_rng(0).uniform(size=1000).astype(np.float32)
    kept = voxel_sample(means, score, 100, 0.5)
    assert set(kept) == set(np.argsort(-score)[:100])


def test_voxels_and_edges() -> None:
    means = np.array([[0.1, 0, 0], [0.2, 0, 0], [1.1, 0, 0], [-0.1, 0, 0]], np.float32)
    a, b, c, d = voxels_of(means, 1.0)
    assert a == b
    assert len({a, c, d}) == 3
    assert default_edge(random_gaussians(2000, 0).means) == pytest.approx(2 * 0.96 / 64, rel=0.05)


def test_amplification_grows_where_more_was_lost() -> None:
    cloud = random_gaussians(4000, 0)
    weight = np.ones(4000, np.float32)
    left = cloud.means[:, 0] < 0
    kept = np.flatnonzero(~left | (np.arange(4000) % 10 == 0))
    loss = local_loss(cloud.means, weight, kept, edge=0.5)
    assert loss[left[kept]].mean() > np.log(5)
    assert loss[~left[kept]].max() < np.log(2)
    grown = amplify(cloud.select(kept), 0.5 * loss)
    np.testing.assert_allclose(grown.scales - cloud.scales[kept], np.repeat(0.5 * loss[:, None], 3, axis=1), atol=1e-6)


def test_the_search_finds_the_minimum_and_tries_zero() -> None:
    best, error = search_growth(lambda x: (x - 0.43) ** 2 + 1, 1.0, evaluations=12)
    assert best == pytest.approx(0.43, abs=0.02)
    assert error == pytest.approx(1, abs=1e-3)
    assert search_growth(lambda x: x, 1.0)[0] == 0.0
