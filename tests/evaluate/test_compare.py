# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import numpy as np
import pytest

from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.evaluate.compare import compare
from exgs_blender.evaluate.metrics import MAX_PSNR, psnr_from_mse
from exgs_blender.render.scored_views import score_views
from exgs_blender.ugc import CompressSettings, compress

from ..clouds import random_gaussians


@pytest.fixture(scope="module")
def cloud():  # type: ignore[no-untyped-def]
    return random_gaussians(3000, 1)


@pytest.fixture(scope="module")
def views(cloud):  # type: ignore[no-untyped-def]
    return orbit(extent_of(cloud), 3, width=64, height=48)


def test_a_cloud_equals_itself(cloud, views) -> None:  # type: ignore[no-untyped-def]
    result = compare(cloud, cloud, views)
    assert result.psnr == MAX_PSNR
    assert result.ssim == pytest.approx(1)
    assert result.ratio == 1


def test_numbers_agree_with_each_other(cloud, views) -> None:  # type: ignore[no-untyped-def]
    half = cloud.select(np.arange(0, 3000, 2))
    result = compare(cloud, half, views, candidate_bytes=1000)
    assert 5 < result.worst_psnr <= result.psnr < 60
    assert result.psnr == pytest.approx(np.mean([v.psnr for v in result.views]))
    assert result.ratio == pytest.approx(cloud.ply_bytes / 1000)
    assert (result.source_count, result.candidate_count) == (3000, 1500)
    assert json.loads(result.to_json())["views"][2]["name"] == views.names[2]
    assert len(result.table().splitlines()) == 3 + 3
    one_view = score_views(cloud, [(views.select([1]), 1.0)])
    assert psnr_from_mse(one_view.error(half)) == pytest.approx(result.views[1].psnr, abs=1e-2)


def test_holes_are_what_the_source_covers_and_the_candidate_does_not(cloud, views) -> None:  # type: ignore[no-untyped-def]
    whole, half = compare(cloud, cloud, views), compare(cloud, cloud.select(np.flatnonzero(cloud.means[:, 1] > 0)), views)
    assert {view.lost for view in whole.views} == {0.0}
    for view in half.views:
        assert 0.2 * view.covered < view.lost < 0.8 * view.covered
    assert [view.covered for view in half.views] == [view.covered for view in whole.views]
    assert whole.flip == 0 < half.flip <= half.worst_flip == max(view.flip for view in half.views)


def test_refitting_beats_merging_beats_the_papers_chain_beats_a_random_choice(cloud, views) -> None:  # type: ignore[no-untyped-def]
    """End to end on rendered statistics; the judging views are others than the scored ones."""
    scored = score_views(cloud, [(orbit(extent_of(cloud), 8, width=96, height=72, phase=0.4), 1.0)])
    fitted = compress(cloud, scored.statistics, CompressSettings(20), views=scored)
    merged = compress(cloud, scored.statistics, CompressSettings(20))
    paper = compress(cloud, scored.statistics, CompressSettings(20, "exgs"), views=scored)
    picked = cloud.select(np.random.default_rng(0).choice(3000, paper.kept, replace=False))
    scores = [compare(cloud, candidate, views).psnr for candidate in (fitted.gaussians, merged.gaussians, paper.gaussians, picked)]
    assert scores[0] > scores[1] + 0.2
    assert scores[1] > scores[2] > scores[3]
