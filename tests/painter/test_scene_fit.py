# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps that a restoration is mixed of, and the fit of a mix to one scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.errors import ExgsError
from exgs_blender.evaluate.metrics import judged, psnr
from exgs_blender.painter import Painter, default_weights
from exgs_blender.painter.basis import COUNT, PLAIN, blurred, mixed, stacked
from exgs_blender.painter.pipeline import GaussPainterPipeline
from exgs_blender.painter.scene_fit import Forms, fit_scene, fitted, middle_of, solved
from exgs_blender.render.rasterize import rasterize, rasterize_all
from exgs_blender.splats import Gaussians
from exgs_blender.splats.activation import logit_from_opacity, opacity_from_logit
from exgs_blender.ugc.guidance import Guidance, together

from ..clouds import random_gaussians
from .conftest import random_frame, tensors


def inputs(height: int = 50, width: int = 66) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rgb, alpha, _ = tensors(random_frame(height, width))
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(1, 4, height, width, generator=generator) * 0.1
    return torch.cat([rgb, alpha], 1), torch.rand(1, 1, height, width, generator=generator), change


def test_a_mix_is_the_sum_of_the_stacked_maps() -> None:
    frame, nearness, change = inputs()
    every = stacked(frame, nearness, change)
    assert every.shape == (COUNT, 1, 4, 50, 66)
    coefficients = torch.linspace(-1, 1, COUNT)
    assert torch.allclose(
        mixed(frame, nearness, change, coefficients.tolist()), torch.einsum("j,jbchw->bchw", coefficients, every), atol=1e-5
    )
    assert torch.linalg.matrix_rank(every.reshape(COUNT, -1).double()) == COUNT


def test_nothing_comes_of_nothing() -> None:
    empty = torch.zeros(1, 4, 40, 40)
    assert float(stacked(empty, torch.zeros(1, 1, 40, 40), empty).abs().max()) == 0


@pytest.mark.parametrize("sigma", [0.7, 1.5, 3.0, 8.0])
def test_blur_keeps_the_sum_and_has_the_width(sigma: float) -> None:
    point = torch.zeros(1, 1, 129, 129)
    point[..., 64, 64] = 1
    spread = blurred(point, sigma)[0, 0].double()
    places = torch.arange(129, dtype=torch.float64) - (spread.sum(0) * torch.arange(129)).sum()
    assert float(spread.sum()) == pytest.approx(1, abs=1e-4)
    assert float((spread.sum(0) * places**2).sum()) ** 0.5 == pytest.approx(sigma, rel=0.12)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 3)])
def test_the_smallest_frames_are_mixed(size: tuple[int, int]) -> None:
    frame = torch.rand(1, 4, *size)
    assert torch.isfinite(mixed(frame, frame[:, :1], frame, [1.0] * COUNT)).all()


def test_a_mix_of_zeros_is_the_identity_and_its_length_is_checked(pipeline: GaussPainterPipeline) -> None:
    rgb, alpha, depth = tensors(random_frame(45, 51))
    made = pipeline(rgb, alpha, depth, 0.1, mix=[0.0] * COUNT)
    assert torch.equal(made.rgb, rgb)
    assert torch.equal(made.alpha, alpha)
    with pytest.raises(ExgsError, match="'mix' has 3 coefficients"):
        pipeline(rgb, alpha, depth, 0.1, mix=[1.0, 2.0, 3.0])


def random_forms(views: int, seed: int, wanted: np.ndarray, spoilt: int = 0, noise: float = 0.5) -> Forms:
    """Views whose best coefficients are ``wanted``; ``spoilt`` of them want the opposite."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(views, 400, len(wanted)))
    signs = np.where(np.arange(views) < spoilt, -1.0, 1.0)
    rest = np.einsum("vpj,j->vp", rows, wanted) * signs[:, None] + rng.normal(0, noise, (views, 400))
    A = np.einsum("vpi,vpj->vij", rows, rows) / 400
    return Forms(A, np.einsum("vpj,vp->vj", rows, rest) / 400, (rest**2).mean(1))


def test_the_fit_finds_what_all_views_want() -> None:
    wanted = np.random.default_rng(5).normal(size=COUNT)
    forms = random_forms(24, 1, wanted)
    found, mean, worst = fitted(forms, np.arange(24))
    assert found is not None
    assert np.allclose(found, wanted, atol=0.1)
    assert worst > 0
    assert mean == pytest.approx(float(forms.gains(found).mean()), abs=0.3)
    assert np.allclose(solved(forms, 0.0), wanted, atol=0.1)


def test_the_fit_gives_up_rather_than_harm_a_view() -> None:
    wanted = np.random.default_rng(5).normal(size=COUNT)
    found, mean, worst = fitted(random_forms(24, 1, wanted, spoilt=8), np.arange(24))
    assert (found, mean, worst) == (None, 0.0, 0.0)
    noise = random_forms(24, 2, np.zeros(COUNT))
    assert fitted(noise, np.arange(24))[0] is None


def test_where_fits_differ_from_view_to_view_the_plain_change_is_taken() -> None:
    forms = random_forms(6, 4, 0.6 * np.array(PLAIN), noise=4.0)
    found, mean, worst = fitted(forms, np.arange(6))
    assert found is not None
    assert np.allclose(found, found[0] * np.array(PLAIN))
    assert 0.2 <= found[0] <= 0.85
    assert mean == pytest.approx(float(forms.gains(found).mean()))
    assert worst > 0
    frame, nearness, change = inputs()
    assert torch.allclose(mixed(frame, nearness, change, PLAIN), change, atol=1e-6)


def thinned(scene: Gaussians) -> Gaussians:
    """Half as opaque and a little darker: what a mix can mend for every view alike."""
    faint = logit_from_opacity(0.5 * opacity_from_logit(scene.opacities)).astype(np.float32)
    return replace(scene, opacities=faint, sh0=scene.sh0 * 0.7)


def test_fitted_to_a_scene_it_mends_views_that_it_has_not_seen() -> None:
    painter = Painter.load(default_weights(), "cpu")
    scene = random_gaussians(600, 1, seed=9)
    damaged = thinned(scene)
    extent = extent_of(scene)
    fit = fit_scene(painter, scene, damaged, orbit(extent, 8, width=80, height=60), refitted=True)
    assert fit.guidance.refitted
    assert len(fit.guidance.mix) == COUNT
    assert fit.mean > 0.3
    others = orbit(extent, 5, width=96, height=72, phase=0.4)
    for frame, truth in zip(rasterize_all(damaged, others), rasterize_all(scene, others), strict=True):
        mended = painter.restore(frame, 1.0, guidance=fit.guidance.text())
        assert psnr(judged(mended.rgb), judged(truth.rgb)) > psnr(judged(frame.rgb), judged(truth.rgb)) + 0.3
        assert painter.restore(frame, 0.1, guidance=replace(fit.guidance, checkpoint="another").text()) is frame


def test_an_untouched_scene_gets_no_mix() -> None:
    painter = Painter.load(default_weights(), "cpu")
    scene = random_gaussians(200, 1, seed=9)
    fit = fit_scene(painter, scene, scene, orbit(extent_of(scene), 4, width=48, height=36), refitted=False)
    assert fit.guidance == Guidance()


def test_the_middle_is_the_same_picture_cut_out() -> None:
    scene = random_gaussians(300, 0, seed=2)
    views = orbit(extent_of(scene), 1, width=40, height=32)
    middle = rasterize(scene, middle_of(views, 2.0))
    whole = rasterize(scene, views.resized(80))
    apart = np.abs(middle.rgb - whole.rgb[16:48, 20:60])  # the projection of what lies outside of the image is limited (INRIA's 1.3)
    assert np.median(apart) < 1e-4
    assert apart.mean() < 2e-3


def test_guidance_survives_files_and_refuses_nonsense() -> None:
    guidance = Guidance(True, (0.123456789, -2.0), "abc")
    assert Guidance.parse(guidance.text()) == replace(guidance, mix=(0.12346, -2.0))
    assert Guidance().text() == ""
    for nonsense in ("", "{", "[]", '{"mix":[1,"a"]}', '{"mix":[1e999]}', '{"mix":[1],"checkpoint":5}', '{"refitted":"yes"}'):
        assert Guidance.parse(nonsense) == Guidance()


def test_clouds_that_disagree_only_tell_whether_one_was_refitted() -> None:
    one, other = Guidance(True, (1.0,), "a").text(), Guidance(False, (2.0,), "a").text()
    assert together([one, one]) == one
    assert together([]) == ""
    assert together([one, other]) == Guidance(True).text()
    assert together([other, ""]) == ""
