# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from exgs_blender.errors import ExgsError
from exgs_blender.painter.basis import COUNT
from exgs_blender.painter.pipeline import GaussPainterPipeline, spans, trust_at
from exgs_blender.painter.train import Painted, Preset

from .conftest import random_frame, tensors


def test_no_predicted_change_returns_the_frame_bit_for_bit(untrained: GaussPainterPipeline) -> None:
    rgb, alpha, depth = tensors(random_frame(50, 70))
    out = untrained(rgb, alpha, depth, 0.04)
    assert torch.equal(out.rgb, rgb)
    assert torch.equal(out.alpha, alpha)


@pytest.mark.parametrize(("keep", "strength"), [(1.0, 1.0), (0.5, 1.0), (0.1, 0.0)])
def test_nothing_pruned_or_no_strength_returns_the_frame_bit_for_bit(pipeline: GaussPainterPipeline, keep: float, strength: float) -> None:
    rgb, alpha, depth = tensors(random_frame(50, 70))
    rgb = rgb * 1.3  # a capture's colours may be brighter than its coverage
    out = pipeline(rgb, alpha, depth, keep, strength=strength)
    assert torch.equal(out.rgb, rgb)
    assert torch.equal(out.alpha, alpha)


def test_random_weights_do_change_the_frame(pipeline: GaussPainterPipeline) -> None:
    rgb, alpha, depth = tensors(random_frame(50, 70))
    assert (pipeline(rgb, alpha, depth, 0.1).rgb - rgb).abs().mean() > 0.01


def test_output_is_premultiplied_rgba(pipeline: GaussPainterPipeline) -> None:
    rgb, alpha, depth = tensors(random_frame(64, 64))
    out = pipeline(rgb, alpha, depth, 0.01)
    assert out.rgb.shape == rgb.shape
    assert out.alpha.shape == out.gate.shape == alpha.shape
    assert out.alpha.min() >= 0
    assert out.alpha.max() <= 1
    assert out.rgb.min() >= 0
    assert bool((out.rgb <= torch.maximum(out.alpha, rgb)).all())


def test_batches_are_restored_as_single_frames_are(pipeline: GaussPainterPipeline) -> None:
    frames = [tensors(random_frame(40, 56, seed)) for seed in range(3)]
    keeps = [0.3, 0.1, 0.01]
    together = pipeline(*(torch.cat(parts) for parts in zip(*frames, strict=True)), torch.tensor(keeps))
    for i, (frame, keep) in enumerate(zip(frames, keeps, strict=True)):
        assert torch.allclose(together.rgb[i : i + 1], pipeline(*frame, keep).rgb, atol=1e-5)


def test_odd_sizes_stay_in_place(pipeline: GaussPainterPipeline) -> None:
    """A frame of 5 x 7 more pixels differs only near its right and lower rim: nothing is scaled or shifted."""
    rgb, alpha, depth = tensors(random_frame(357, 379))
    depth = torch.where(depth > 0, 2.0, 0.0)  # the median depth is then the same for both
    large = pipeline(rgb, alpha, depth, 0.1)
    cut = (..., slice(0, 352), slice(0, 372))
    small = pipeline(rgb[cut], alpha[cut], depth[cut], 0.1)
    inner = (..., slice(0, 40), slice(0, 40))
    assert small.rgb.shape[-2:] == (352, 372)
    assert torch.allclose(small.rgb[inner], large.rgb[inner], atol=1e-5)
    assert (small.rgb[inner] - rgb[inner]).abs().mean() > 0.01


def test_a_shift_by_whole_blocks_shifts_the_result(pipeline: GaussPainterPipeline) -> None:
    block = pipeline.vae.factor * pipeline.unet.stride
    rgb, alpha, depth = tensors(random_frame(640 + block, 64))
    depth = torch.where(depth > 0, 2.0, 0.0)
    upper = pipeline(rgb[..., :-block, :], alpha[..., :-block, :], depth[..., :-block, :], 0.1).rgb
    lower = pipeline(rgb[..., block:, :], alpha[..., block:, :], depth[..., block:, :], 0.1).rgb
    middle = slice(304, 336)
    shifted = slice(304 + block, 336 + block)
    assert torch.allclose(upper[..., shifted, :], lower[..., middle, :], atol=1e-5)


def test_tiles_leave_no_seams(pipeline: GaussPainterPipeline) -> None:
    rgb, alpha, depth = tensors(random_frame(533, 421))
    whole = pipeline(rgb, alpha, depth, 0.1).rgb
    tiled = pipeline(rgb, alpha, depth, 0.1, tile=160).rgb
    assert (whole - tiled).abs().max() < 1 / 255
    assert (whole - rgb).abs().max() > 0.1


def test_trust_is_interpolated_in_the_logarithm_of_the_keep_ratio(pipeline: GaussPainterPipeline) -> None:
    table = [[0.01, 1.0], [0.1, 0.5], [0.5, 0.0]]
    assert trust_at(table, torch.tensor([0.001, 0.01, 10**-1.5, 0.1, 0.5, 0.9])).tolist() == pytest.approx(
        [1, 1, 0.75, 0.5, 0, 0], abs=1e-6
    )
    frame = tensors(random_frame(32, 32))
    full = pipeline(*frame, 0.1).gate
    pipeline.register_to_config(trust=table)
    assert torch.allclose(pipeline(*frame, 0.1).gate, 0.5 * full)


def test_spans_cover_everything_once() -> None:
    pieces = spans(0, 1088, 1088, 512, 192)
    assert [inner for inner, _ in pieces] == [(0, 512), (512, 1024), (1024, 1088)]
    assert [outer for _, outer in pieces] == [(0, 704), (320, 1088), (832, 1088)]
    assert spans(0, 0, 1088, 512, 192) == []
    assert spans(96, 256, 1088, 512, sys.maxsize) == [((96, 256), (0, 1088))]


@pytest.mark.parametrize("preset", ["tiny", "fast", "full"])
def test_nothing_beyond_the_reach_influences_a_result(preset: Preset) -> None:
    torch.manual_seed(3)
    unet = Painted(preset).unet.eval()
    torch.nn.init.normal_(unet.conv_out.weight)
    side = -(-(2 * unet.reach + 8) // unet.stride) * unet.stride
    plain = torch.randn(1, unet.config.in_channels, unet.stride, side)
    spoilt = plain.clone()
    middle = side // 2
    spoilt[..., middle] += 100
    with torch.inference_mode():
        change = (unet(plain, 199).sample != unet(spoilt, 199).sample)[0].any(0).any(0).nonzero()
    assert middle - int(change.min()) <= unet.reach
    assert int(change.max()) - middle <= unet.reach
    assert int(change.max()) - middle > unet.reach / 2  # no idle bound


@pytest.mark.parametrize("mix", [None, [0.1] * COUNT])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_empty_background_is_skipped_without_a_trace(
    pipeline: GaussPainterPipeline, dtype: torch.dtype, mix: list[float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb, alpha, depth = tensors(random_frame(416, 592))
    depth = torch.where(depth > 0, 2.0, 0.0)
    for image in (rgb, alpha, depth):
        image[..., :170, :] = image[..., :, :200] = image[..., 330:, :] = image[..., 280:] = 0
    pipeline.unet.to(dtype)
    seen: list[torch.Size] = []
    hook = pipeline.unet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].shape))
    skipped = pipeline(rgb, alpha, depth, 0.1, mix=mix)
    hook.remove()
    monkeypatch.setattr("exgs_blender.painter.pipeline.used", lambda support, axis, block: (0, support.shape[axis]))
    whole = pipeline(rgb, alpha, depth, 0.1, mix=mix)
    assert seen[0].numel() < 0.8 * 416 * 592 / 16 * seen[0][1]
    assert torch.equal(skipped.rgb, whole.rgb)
    assert torch.equal(skipped.alpha, whole.alpha)
    assert (whole.rgb - rgb).abs().max() > 0.1


@pytest.mark.parametrize(("keep", "strength", "covered"), [(0.9, 1.0, 1.0), (0.1, 0.0, 1.0), (0.1, 1.0, 0.0)])
def test_a_frame_that_stays_as_it_is_costs_nothing(pipeline: GaussPainterPipeline, keep: float, strength: float, covered: float) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the denoiser ran")

    pipeline.unet.register_forward_pre_hook(refuse)
    rgb, alpha, depth = (image * covered for image in tensors(random_frame(40, 56)))
    out = pipeline(rgb, alpha, depth, keep, strength=strength)
    assert torch.equal(out.rgb, rgb)
    assert torch.equal(out.alpha, alpha)
    assert not out.gate.any()


def test_saves_and_loads_offline_bit_for_bit(pipeline: GaussPainterPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("loading a checkpoint must not use the network")

    frame = tensors(random_frame(48, 48))
    pipeline.register_to_config(trust=[[0.01, 0.9], [0.5, 0.25]])
    pipeline.save_pretrained(tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl")]
    monkeypatch.setattr(socket.socket, "connect", refuse)
    loaded = GaussPainterPipeline.from_pretrained(tmp_path, local_files_only=True)
    assert loaded.config.trust == [[0.01, 0.9], [0.5, 0.25]]
    for name in ("unet", "vae"):
        kept, found = getattr(pipeline, name).state_dict(), getattr(loaded, name).state_dict()
        assert kept.keys() == found.keys()
        assert all(torch.equal(kept[key], found[key]) for key in kept)
    # Not bit for bit: how weights lie in memory, which differs in a mapped file, decides between ways to sum.
    assert torch.allclose(loaded(*frame, 0.1).rgb, pipeline(*frame, 0.1).rgb, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dtype", "share"), [(torch.bfloat16, 0.01), (torch.float16, 0.002)])
def test_half_precision_changes_the_repair_little(pipeline: GaussPainterPipeline, dtype: torch.dtype, share: float) -> None:
    """As ``Painter.load`` sets it up: the denoiser alone in half precision."""
    rgb, *others = tensors(random_frame(64, 64))
    exact = pipeline(rgb, *others, 0.1).rgb
    pipeline.unet.to(dtype)
    half = pipeline(rgb, *others, 0.1).rgb
    assert half.dtype == torch.float32
    assert 0 < (exact - half).square().mean().sqrt() < share * (exact - rgb).square().mean().sqrt()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("both", [False, True])
def test_no_predicted_change_is_exact_in_half_precision(untrained: GaussPainterPipeline, dtype: torch.dtype, both: bool) -> None:
    rgb, alpha, depth = (torch.cat(parts) for parts in zip(*(tensors(random_frame(50, 70, seed)) for seed in range(3)), strict=True))
    (untrained if both else untrained.unet).to(dtype)
    out = untrained(rgb, alpha, depth, 0.04)
    assert torch.equal(out.rgb, rgb)
    assert torch.equal(out.alpha, alpha)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rgb": torch.zeros(1, 4, 8, 8)}, "rgb"),
        ({"alpha": torch.zeros(1, 1, 8, 9)}, "alpha"),
        ({"depth": torch.zeros(8, 8)}, "depth"),
        ({"keep_ratio": 0.0}, "keep_ratio"),
        ({"keep_ratio": torch.tensor([0.1, 0.2])}, "keep_ratio"),
        ({"strength": 1.5}, "strength"),
        ({"tile": 0}, "tile"),
    ],
)
def test_bad_input_is_named(pipeline: GaussPainterPipeline, change: dict[str, Any], named: str) -> None:
    plane = torch.zeros(1, 1, 8, 8)
    good = {"rgb": torch.zeros(1, 3, 8, 8), "alpha": plane, "depth": plane, "keep_ratio": 0.1}
    with pytest.raises(ExgsError, match=named):
        pipeline(**{**good, **change})
