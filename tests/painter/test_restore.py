# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exgs_blender.errors import ExgsError, FileError
from exgs_blender.painter import Painter
from exgs_blender.painter.depth_fill import fill_depth
from exgs_blender.painter.devices import choose_device
from exgs_blender.painter.pipeline import GaussPainterPipeline

from .conftest import random_frame


@pytest.fixture
def folder(pipeline: GaussPainterPipeline, tmp_path: Path) -> Path:
    pipeline.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_restores_a_frame_and_keeps_its_depth(folder: Path) -> None:
    frame = random_frame(53, 95)
    frame = replace(frame, depth=np.where(frame.alpha > 0.01, frame.depth, 0))
    made = Painter.load(folder, "cpu").restore(frame, 0.1)
    assert made.rgb.shape == frame.rgb.shape
    assert made.rgb.dtype == made.alpha.dtype == made.depth.dtype == np.float32
    covered = frame.alpha > 0.01
    assert np.array_equal(made.depth[covered], frame.depth[covered])
    painted = (frame.alpha < 1e-3) & (made.alpha > 0.05)
    assert painted.any()
    assert (made.depth[painted] > 0).all()
    assert not np.array_equal(made.rgb, frame.rgb)


def test_same_frame_same_result_whatever_came_before(folder: Path) -> None:
    painter = Painter.load(folder, "cpu")
    first = painter.restore(random_frame(64, 64, 1), 0.1)
    painter.restore(random_frame(40, 80, 2), 0.02)
    again = painter.restore(random_frame(64, 64, 1), 0.1)
    other = Painter.load(folder, "cpu").restore(random_frame(64, 64, 1), 0.1)
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.rgb, other.rgb)


def test_full_keep_and_zero_strength_return_the_frame(folder: Path) -> None:
    painter, frame = Painter.load(folder, "cpu"), random_frame(30, 50)
    for keep, strength in ((1.0, 1.0), (0.1, 0.0)):
        made = painter.restore(frame, keep, strength)
        assert np.array_equal(made.rgb, frame.rgb)
        assert np.array_equal(made.alpha, frame.alpha)
        assert np.array_equal(made.depth, frame.depth)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nowhere.*model_index\.json"):
        Painter.load(tmp_path / "nowhere")


def test_folder_of_something_else(folder: Path) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(FileError, match="StableDiffusionPipeline"):
        Painter.load(folder)
    index.write_text("{")
    with pytest.raises(FileError, match="JSON"):
        Painter.load(folder)


def test_missing_part(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileError, match=r"unet.*missing"):
        Painter.load(folder)


def test_truncated_weights(folder: Path) -> None:
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FileError, match="cannot be loaded"):
        Painter.load(folder)


def test_weights_that_do_not_fit_their_configuration(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_out.weight"] = tensors["conv_out.weight"][:, :3].contiguous()
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(FileError, match="cannot be loaded"):
        Painter.load(folder)
    del tensors["conv_out.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(FileError, match=r"conv_out\.weight"):
        Painter.load(folder)


def test_unknown_device(folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device that must be absent")
    with pytest.raises(ExgsError, match="device 'cuda'"):
        Painter.load(folder, "cuda")


def test_unknown_precision(folder: Path) -> None:
    with pytest.raises(ExgsError, match=r"precision is 'float8'.*bfloat16"):
        Painter.load(folder, "cpu", "float8")
    with pytest.raises(ExgsError, match="device 'gpu'"):
        Painter.load(folder, "gpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_precision_is_the_denoiser_s(folder: Path, precision: str) -> None:
    pipeline = Painter.load(folder, "cpu", precision).pipeline
    assert {p.dtype for p in pipeline.unet.parameters()} == {getattr(torch, precision)}
    assert {p.dtype for p in pipeline.vae.parameters()} == {torch.float32}


def test_what_auto_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine has all of these; only what torch says about itself is replaced."""

    def choice(cuda: bool, mps: bool, features: dict[str, bool], ampere: bool = True) -> tuple[str, torch.dtype]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: ampere or including_emulation)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
        device, dtype = choose_device()
        return device.type, dtype

    assert choice(True, True, {}) == ("cuda", torch.bfloat16)
    assert choice(True, False, {}, ampere=False) == ("cuda", torch.float16)
    assert choice(False, True, {"avx512_bf16": True}) == ("mps", torch.float16)
    assert choice(False, False, {"avx512_bf16": True}) == ("cpu", torch.bfloat16)
    assert choice(False, False, {"amx_bf16": True}) == ("cpu", torch.bfloat16)
    assert choice(False, False, {"avx512_f": True}) == ("cpu", torch.float32)


def test_depth_is_filled_from_the_neighbourhood() -> None:
    depth = np.zeros((40, 40), np.float32)
    alpha = np.zeros((40, 40), np.float32)
    depth[:, :20], alpha[:, :20] = 2.0, 1.0
    depth[:, 30:], alpha[:, 30:] = 5.0, 1.0
    painted = np.ones((40, 40), np.float32)
    painted[0] = alpha[0]
    made = fill_depth(depth, alpha, painted)
    assert np.array_equal(made[:, :20], depth[:, :20])
    assert np.array_equal(made[0], depth[0])
    assert ((made[1:, 20:30] >= 2) & (made[1:, 20:30] <= 5)).all()
    assert made[10, 20] == 2
    assert made[10, 29] == 5


def test_depth_of_an_empty_frame_stays() -> None:
    nothing = np.zeros((8, 8), np.float32)
    assert np.array_equal(fill_depth(nothing, nothing, nothing + 1), nothing)
