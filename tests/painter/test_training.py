# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs, batches and the training loop, on made-up clouds and a tiny model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from exgs_blender.cameras import Cameras
from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.errors import CancelledError, ExgsError, FileError
from exgs_blender.painter import Painter
from exgs_blender.painter.batches import Sampling, draw, prefetch
from exgs_blender.painter.export import Card, export
from exgs_blender.painter.losses import LossWeights, Step, absolute_loss, decibel_loss, total_loss
from exgs_blender.painter.pairs import PairSettings, make_pairs, open_pairs
from exgs_blender.painter.train import SIZES, Painted, TrainSettings, learning_rate, train
from exgs_blender.painter.validate import choose_trust, validate
from exgs_blender.progress import Report
from exgs_blender.splats import Gaussians

from ..clouds import random_gaussians
from .conftest import random_frame


def first_ones(scene: Gaussians, views: Cameras, ratio: float, report: Report) -> Gaussians:
    """The plainest pruning there is."""
    return scene.select(slice(0, max(int(ratio * len(scene)), 1)))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "cloud"
    cloud = random_gaussians(400, 1, seed=3)
    views = orbit(extent_of(cloud), 4, width=80, height=60)
    make_pairs("cloud", cloud, views, views, first_ones, folder, PairSettings(ratios=(0.5, 0.1), long_sides=(64, 100)))
    return folder


def settings_for(pairs: Path, out: Path) -> TrainSettings:
    return TrainSettings(
        pairs=(pairs,),
        validation=(pairs,),
        out=out,
        preset="tiny",
        steps=6,
        batch=4,
        crop=32,
        checkpoint_every=2,
        validate_every=3,
        warmup=2,
    )


def test_pairs_hold_the_same_views_before_and_after(pairs: Path) -> None:
    opened = open_pairs(pairs)
    assert opened.ratios == (0.1, 0.5)
    assert opened.kept == {1.0: 1.0, 0.5: 0.5, 0.1: 0.1}
    assert [group[1.0].shape for group in opened.groups] == [(2, 48, 64, 5), (2, 75, 100, 5)]
    coverage = [opened.groups[0][ratio][..., 3].mean() for ratio in (0.1, 0.5, 1.0)]
    assert coverage[0] < coverage[1] < coverage[2]


def test_unfinished_pairs_are_refused(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no finished set"):
        open_pairs(tmp_path)
    for file in pairs.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    np.save(tmp_path / "size0_0.1.npy", np.zeros((2, 8, 8, 5), np.uint8))
    with pytest.raises(FileError, match="one shape"):
        open_pairs(tmp_path)


def test_batches_follow_from_seed_and_step(pairs: Path) -> None:
    sets, sampling = [open_pairs(pairs)], Sampling(batch=3, crop=32, seed=5)
    made = draw(sets, sampling, 7)
    assert made.degraded.shape == (3, 5, 32, 32)
    assert made.truth.shape == (3, 4, 32, 32)
    assert torch.equal(made.degraded, draw(sets, sampling, 7).degraded)
    assert not torch.equal(made.degraded, draw(sets, sampling, 8).degraded)
    ahead = [batch.truth for _, batch in prefetch(lambda step: draw(sets, sampling, step), 0, 5, workers=2)]
    assert all(torch.equal(a, draw(sets, sampling, step).truth) for step, a in enumerate(ahead))


def test_variation_treats_both_alike_and_keeps_colours_premultiplied(pairs: Path) -> None:
    opened = open_pairs(pairs)
    same = replace(opened, groups=[dict.fromkeys(group, group[1.0]) for group in opened.groups])
    unpruned = draw([same], Sampling(batch=40, crop=32, seed=1), 0)
    assert torch.equal(unpruned.degraded[:, :4], unpruned.truth)
    pruned = draw([opened], Sampling(batch=40, crop=32, seed=1), 0)
    assert set(pruned.keep.tolist()) == {np.float32(0.1)}  # 0.5 is not repaired, so it is not drawn
    assert pruned.degraded.min() >= 0
    assert pruned.degraded.max() <= 1


def test_losses_measure_ratios_and_are_finite_for_flat_images() -> None:
    flat = torch.full((2, 4, 16, 16), 0.3, requires_grad=True)
    z = torch.zeros(2, 3, 2, 2, requires_grad=True)
    loss, terms = total_loss(Step(flat, flat, flat, flat, z, z, torch.zeros(2)), LossWeights())
    loss.backward()
    assert torch.isfinite(flat.grad).all()
    assert terms == {"decibel": 0, "absolute": 0, "reconstruction": 0, "latent": 0}
    truth, source = torch.full((2, 4, 16, 16), 0.5), torch.full((2, 4, 16, 16), 0.7)
    halved = truth + 0.1
    assert decibel_loss(halved, source, truth).tolist() == pytest.approx([np.log(0.25)] * 2, abs=1e-3)
    assert absolute_loss(halved, source, truth).tolist() == pytest.approx([0.5] * 2, abs=0.02)
    noisy = Step(source, truth, halved, source, z + 1, z, torch.tensor([0.0, 1.0]))
    terms = total_loss(noisy, LossWeights())[1]
    assert terms["decibel"] == pytest.approx(np.log(0.25) / 2, abs=1e-3)  # the noisy sample counts in latents alone
    assert terms["latent"] == pytest.approx(0.5)


def test_the_autoencoder_starts_lossless() -> None:
    vae = Painted("fast").vae
    image = torch.rand(1, 4, 16, 24)
    assert torch.allclose(vae(image), image, atol=1e-6)


def test_a_decoded_change_is_the_difference_of_two_decodings() -> None:
    vae = Painted("tiny").vae
    for parameter in vae.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    before, after = torch.randn(2, 3, 64, 6, 5)
    expected = vae.decode(after) - vae.decode(before)
    assert torch.allclose(vae.decoded_change(after, before), expected, atol=1e-4)
    assert not vae.decoded_change(before, before.clone()).any()


def test_the_autoencoder_keeps_its_precision_while_the_denoiser_trains_in_half() -> None:
    vae = Painted("tiny").vae
    torch.nn.init.normal_(vae.detail_out.weight)
    image = torch.rand(2, 4, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        latents = vae.encode(image)
        half = vae.decode(latents)
    assert torch.equal(half, vae.decode(vae.encode(image)))


def test_learning_rate_warms_up_and_falls() -> None:
    settings = TrainSettings(pairs=(Path("x"),), out=Path("y"), steps=1000, warmup=100, learning_rate=1.0)
    rates = [learning_rate(settings, step) for step in (0, 500, 1000)]
    assert rates == pytest.approx([0.01, 0.5, 0.0], abs=1e-6)


def test_an_interrupted_run_ends_with_the_same_weights(pairs: Path, tmp_path: Path) -> None:
    def stop_after(count: int) -> Report:
        def listen(stage: str, fraction: float) -> None:
            if fraction >= count / 6:
                raise CancelledError

        return listen

    whole = settings_for(pairs, tmp_path / "whole")
    model = train(whole)
    parted = settings_for(pairs, tmp_path / "parted")
    with pytest.raises(CancelledError):
        train(parted, stop_after(5))
    assert train(parted) == tmp_path / "parted" / "model"
    ends = [load_file(out / "state.safetensors") for out in (whole.out, parted.out)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert (whole.out / "validation.csv").read_text() == (parted.out / "validation.csv").read_text()
    start = Painted("tiny").state_dict()["unet.conv_out.weight"]
    assert not torch.equal(ends[0]["average.unet.conv_out.weight"], start)
    frame = random_frame(40, 40)
    assert np.isfinite(Painter.load(model, "cpu").restore(frame, 0.1).rgb).all()


def test_a_time_limit_stops_with_a_checkpoint(pairs: Path, tmp_path: Path) -> None:
    settings = replace(settings_for(pairs, tmp_path), time_limit=1e-9, checkpoint_every=100)
    train(settings)
    rows = (tmp_path / "curves.csv").read_text().splitlines()
    assert len(rows) == 2
    assert rows[1].startswith("1,")


def test_state_of_another_size_is_refused(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(settings_for(pairs, tmp_path), steps=2)
    train(settings)
    monkeypatch.setitem(SIZES, "tiny", replace(SIZES["tiny"], latents=12))
    with pytest.raises(FileError, match="no training state of this model"):
        train(settings)


def test_training_learns_the_pairs(pairs: Path, tmp_path: Path) -> None:
    settings = replace(settings_for(pairs, tmp_path), steps=90, batch=6, learning_rate=3e-3, average=0.9, validate_every=1000)
    painter = Painter.load(train(settings), "cpu")
    assert validate(painter.pipeline, [open_pairs(pairs)])["gain_0.1"] > 0.1
    trust = choose_trust(painter.pipeline, [open_pairs(pairs)])
    assert [row.keep for row in trust] == [0.1, 0.5]
    assert trust[0].mean > 0
    assert trust[0].worst >= -0.03


def test_the_full_size_trains_by_the_same_call(pairs: Path, tmp_path: Path) -> None:
    settings = replace(settings_for(pairs, tmp_path), preset="full", steps=1, batch=1, workers=1, validation=())
    assert (train(settings) / "unet" / "diffusion_pytorch_model.safetensors").is_file()


@pytest.mark.parametrize(("change", "named"), [({"crop": 50}, "crop"), ({"pairs": ()}, "pairs"), ({"preset": "huge"}, "preset")])
def test_bad_settings_are_named(pairs: Path, tmp_path: Path, change: dict[str, object], named: str) -> None:
    with pytest.raises(ExgsError, match=named):
        replace(settings_for(pairs, tmp_path), **change)


def test_export_ships_the_averaged_weights_with_a_card(pairs: Path, tmp_path: Path) -> None:
    settings = replace(settings_for(pairs, tmp_path / "run"), steps=2)
    with pytest.raises(ExgsError, match="no training state"):
        export(settings, tmp_path / "shipped", Card((), (), ()))
    train(settings)
    trust = export(settings, tmp_path / "shipped", Card(("cloud, made up",), ("cloud",), ("none",), table="a table"))
    shipped = Painter.load(tmp_path / "shipped", "cpu")
    assert shipped.pipeline.config.trust == [[row.keep, row.factor] for row in trust]
    weights = load_file(tmp_path / "shipped" / "unet" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    average = load_file(tmp_path / "run" / "state.safetensors")["average.unet.conv_in.weight"]
    assert torch.equal(weights["conv_in.weight"], average.half())
    card = (tmp_path / "shipped" / "README.md").read_text()
    assert "cloud, made up" in card
    assert "2 steps" in card
    assert "a table" in card
