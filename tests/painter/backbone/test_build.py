# SPDX-License-Identifier: GPL-3.0-or-later
"""From a base model to a painter that restores frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("peft", reason="building on a base model needs peft")

from exgs_blender.cli import main
from exgs_blender.errors import CancelledError, ExgsError, FileError
from exgs_blender.painter import Painter
from exgs_blender.painter.backbone.base import read_base
from exgs_blender.painter.backbone.build import BuildSettings, build_painter
from exgs_blender.painter.backbone.lora import Adapted, is_lora
from exgs_blender.painter.masks import GUIDANCE
from exgs_blender.painter.pairs import open_pairs
from exgs_blender.painter.pipeline import GaussPainterPipeline, make_scheduler
from exgs_blender.painter.train import TrainSettings
from exgs_blender.painter.validate import validate

from ..conftest import random_frame, tensors
from .conftest import write_base, write_text_encoder


@pytest.fixture
def settings(pairs: Path, tmp_path: Path) -> BuildSettings:
    training = TrainSettings(
        pairs=(pairs,), validation=(pairs,), out=tmp_path / "out", steps=3, batch=2, crop=32, learning_rate=1e-2, warmup=1, noise_share=0.3
    )
    return BuildSettings(write_base(tmp_path / "base"), replace(training, checkpoint_every=1, validate_every=2), rank=2)


@pytest.mark.parametrize("kind", ["tiny", "kl"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_untrained_it_returns_the_frame_bit_for_bit(tmp_path: Path, kind: str, prediction: str) -> None:
    torch.manual_seed(0)
    model = Adapted(read_base(write_base(tmp_path, kind, prediction)), 4).eval()
    pipeline = GaussPainterPipeline(model.vae, model.unet, make_scheduler(), kind="backbone")
    rgb, alpha, depth = tensors(random_frame(50, 70))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        out = pipeline.to(dtype)(rgb, alpha, depth, 0.04)
        assert torch.equal(out.rgb, rgb)
        assert torch.equal(out.alpha, alpha)
    model.float()
    torch.nn.init.ones_(model.unet.gain)
    assert (pipeline(rgb, alpha, depth, 0.04).rgb - rgb).abs().mean() > 1e-3


def test_builds_trains_saves_and_restores(settings: BuildSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text_encoder(settings.base)
    said: list[str] = []
    built = build_painter(settings, say=said.extend)
    assert built.steps == 3
    assert "Licence of the base model:" in said
    index = json.loads((built.model / "model_index.json").read_text())
    assert index["kind"] == "backbone"
    assert index["trust"] == built.trust
    assert not [p for p in built.model.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl")]
    weights = load_file(built.model / "unet" / "diffusion_pytorch_model.safetensors")
    assert weights["inner.conv_in.weight"].shape[1] == 4 + 16 + len(GUIDANCE)
    assert not any("lora" in name for name in weights)
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert torch.equal(weights["prompt"], read_base(settings.base).prompt.half())
    card = (built.model / "README.md").read_text()
    assert "derivative" in card
    assert "license_name: made-up community licence" in card
    assert (built.model / "base-LICENSE.md").read_bytes() == (settings.base / "LICENSE.md").read_bytes()

    painter = Painter.load(built.model, "cpu", "float32")
    painter.pipeline.register_to_config(trust=[[1.0, 1.0]])  # three steps earn no trust
    frame = random_frame(53, 71)
    made = painter.restore(frame, 0.1)
    assert made.rgb.shape == (53, 71, 3)
    assert np.isfinite(made.rgb).all()
    assert np.abs(made.rgb - frame.rgb).max() > 1e-4
    assert np.abs(made.alpha - frame.alpha).max() > 1e-4
    assert np.array_equal(painter.restore(frame, 1.0).rgb, frame.rgb)
    of_diffusers = GaussPainterPipeline.from_pretrained(built.model, local_files_only=True)
    of_diffusers.register_to_config(trust=[[1.0, 1.0]])
    rgb = of_diffusers.to(torch.float32)(*tensors(frame), 0.1).rgb[0].permute(1, 2, 0).numpy()
    assert np.allclose(rgb, made.rgb, atol=1e-6)


def test_only_lora_and_new_channels_change(settings: BuildSettings) -> None:
    build_painter(settings)
    base = read_base(settings.base)
    torch.manual_seed(settings.training.seed)
    start = Adapted(base, settings.rank)
    state = load_file(settings.training.out / "state.safetensors")
    changed = {name.removeprefix("model.").replace("/", ".") for name in state if name.startswith("model.")}
    assert changed == set(start.trained())
    others = changed - {name for name in changed if is_lora(name)}
    assert others == {"gain", "inner.conv_in.more.weight", "inner.conv_out.more.weight", "inner.conv_out.more.bias"}
    for name, before in start.trained().items():
        if "lora_A" not in name:  # its gradient is zero until lora_B has moved
            assert not torch.equal(state["model." + name.replace(".", "/")], before), name
    # The written model is the base plus a change of LoRA's rank, and exactly the base where nothing is adapted.
    weights = load_file(settings.training.out / "model" / "unet" / "diffusion_pytorch_model.safetensors")
    original = load_file(settings.base / "unet" / "diffusion_pytorch_model.safetensors")
    adapted = {name.split(".lora_")[0].removeprefix("inner.") + ".weight" for name in changed if is_lora(name)}
    for name, value in original.items():
        found = weights[f"inner.{name}"]
        if name.startswith("conv_in.weight"):
            found = found[:, :4]
        elif name.startswith("conv_out."):
            found = found[:4]
        if name in adapted:
            change = (found.float() - value).flatten(1)
            assert torch.linalg.matrix_rank(change, atol=0.02).item() <= settings.rank
        else:
            assert torch.equal(found, value.half()), name
    for name, value in load_file(settings.base / "vae" / "diffusion_pytorch_model.safetensors").items():
        assert torch.equal(
            load_file(settings.training.out / "model" / "vae" / "diffusion_pytorch_model.safetensors")[f"inner.{name}"], value.half()
        )


def test_fused_weights_restore_as_the_trained_ones(settings: BuildSettings) -> None:
    model = Adapted(read_base(settings.base), 2).eval()
    for parameter in model.trained().values():
        torch.nn.init.normal_(parameter, std=0.1)
    pipeline = GaussPainterPipeline(model.vae, model.unet, make_scheduler(), kind="backbone")
    frame = tensors(random_frame(32, 48))
    before = pipeline(*frame, 0.1).rgb
    model.fuse()
    assert torch.allclose(pipeline(*frame, 0.1).rgb, before, atol=1e-5)


def test_an_interrupted_build_ends_with_the_same_weights(settings: BuildSettings, tmp_path: Path) -> None:
    def stop(stage: str, fraction: float) -> None:
        if stage == "training" and fraction > 0.5:
            raise CancelledError

    whole = build_painter(settings)
    parted = replace(settings, training=replace(settings.training, out=tmp_path / "parted"))
    with pytest.raises(CancelledError):
        build_painter(parted, stop)
    assert not (tmp_path / "parted" / "model").exists()
    assert (tmp_path / "parted" / "state.safetensors").exists()
    again = build_painter(parted)
    for name in ("unet", "vae"):
        one, two = (load_file(b.model / name / "diffusion_pytorch_model.safetensors") for b in (whole, again))
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_an_output_folder_belongs_to_one_base_and_rank(settings: BuildSettings) -> None:
    build_painter(settings)
    with pytest.raises(FileError, match=r"build\.json.*'rank'"):
        build_painter(replace(settings, rank=3))
    from safetensors.torch import save_file

    save_file({"prompt": torch.zeros(1, 7, 32)}, settings.base / "prompt_embedding.safetensors")
    with pytest.raises(FileError, match=r"build\.json.*'fingerprint'"):
        build_painter(settings)


def test_settings_that_do_not_fit_are_named(settings: BuildSettings, tmp_path: Path) -> None:
    with pytest.raises(ExgsError, match="rank"):
        replace(settings, rank=0)
    wide = replace(settings, base=write_base(tmp_path / "wide", levels=5))
    with pytest.raises(ExgsError, match=r"'crop' is 32.*multiple of 64"):
        build_painter(wide)


def test_loading_builds_only_known_kinds(settings: BuildSettings) -> None:
    model = build_painter(settings).model
    index = model / "model_index.json"
    config = json.loads(index.read_text())
    for kind in ("os", ["backbone"], None):
        index.write_text(json.dumps({**config, "kind": kind}))
        with pytest.raises(FileError, match=r"model_index\.json.*'kind'"):
            Painter.load(model)
    index.write_text(json.dumps({**config, "kind": "scratch"}))
    with pytest.raises(FileError, match="cannot be loaded"):
        Painter.load(model)
    # What the folder says about classes does not matter.
    index.write_text(json.dumps({**config, "unet": ["os", "system"], "vae": ["subprocess", "Popen"]}))
    assert type(Painter.load(model, "cpu").pipeline.unet).__name__ == "BackboneDenoiser"


def test_command(settings: BuildSettings, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, out = str(settings.training.pairs[0]), str(settings.training.out)
    command = ["build-painter", "--base", str(settings.base), "--pairs", pairs, "--validation", pairs, "--output", out]
    command += ["--crop", "32", "--rank", "2", "--device", "cpu", "--progress", "none"]
    assert main([*command, "--steps", "4", "--time-limit", "0.000001"]) == 0
    first = capsys.readouterr().out
    assert "license_name: made-up community licence" in first
    assert "1 of 4 steps" in first
    assert "the same command goes on" in first
    assert main([*command, "--steps", "4"]) == 0
    assert "4 of 4 steps" in capsys.readouterr().out
    assert Painter.load(settings.training.out / "model", "cpu")
    assert main([*command[:2], str(settings.base / "unet"), *command[3:]]) == 1
    assert "vae" in capsys.readouterr().err


def test_training_learns_the_pairs(settings: BuildSettings) -> None:
    training = replace(settings.training, steps=60, batch=4, learning_rate=2e-3, average=0.9, noise_share=0.0, validate_every=1000)
    built = build_painter(replace(settings, training=training, rank=4))
    assert built.trust == [[0.1, 1.0]]
    pipeline = Painter.load(built.model, "cpu").pipeline
    opened = open_pairs(training.pairs[0])
    assert validate(pipeline, [opened])["worst"] > 0
    pruned, truth = (torch.from_numpy(opened.groups[0][r].astype(np.float32) / 255).permute(0, 3, 1, 2) for r in (0.1, 1.0))
    made = pipeline(pruned[:, :3], pruned[:, 3:4], 1 / pruned[:, 4:].clamp_min(0.01) - 1, 0.1)
    before, after = ((image - truth[:, 3:4]).square().mean() for image in (pruned[:, 3:4], made.alpha))
    assert after < 0.6 * before, (before, after)


@pytest.mark.parametrize("kind", ["tiny", "kl"])
def test_the_autoencoder_keeps_its_precision_while_the_denoiser_trains_in_half(tmp_path: Path, kind: str) -> None:
    vae = Adapted(read_base(write_base(tmp_path, kind)), 2).vae
    image = torch.rand(1, 4, 32, 48)
    with torch.autocast("cpu", torch.bfloat16):
        half = vae.decode(vae.encode(image))
    assert torch.equal(half, vae.decode(vae.encode(image)))
    assert torch.allclose(half[:, 3:], image[:, 3:], atol=1e-6)  # coverage loses nothing
