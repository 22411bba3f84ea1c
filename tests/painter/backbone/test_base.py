# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the folder of a base model: what is taken, and what is refused with the file and the field named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from exgs_blender.errors import ExgsError, FileError
from exgs_blender.painter.backbone.base import read_base

from .conftest import write_base, write_text_encoder


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_reads_what_is_in_the_folder(tmp_path: Path) -> None:
    base = read_base(write_base(tmp_path, "kl", "v_prediction"))
    assert base.prediction == "v_prediction"
    assert base.schedule == {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    assert torch.equal(base.prompt, load_file(tmp_path / "prompt_embedding.safetensors")["prompt"])
    assert type(base.vae).__name__ == "AutoencoderKL"
    stored = load_file(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    assert torch.equal(base.unet.conv_in.weight, stored["conv_in.weight"])


def test_licence_notes_name_what_was_found_and_what_follows(tmp_path: Path) -> None:
    folder = write_base(tmp_path)
    text = "\n".join(read_base(folder).licence.notes())
    for expected in (
        "license: other",
        "license_name: made-up community licence",
        "LICENSE.md: [31mMade-up licence, version 1",
        "derivative",
    ):
        assert expected in text
    assert "\x1b" not in text
    (folder / "README.md").unlink()
    (folder / "LICENSE.md").unlink()
    assert "nothing found" in "\n".join(read_base(folder).licence.notes())


def test_half_precision_variants_and_shards_are_read(tmp_path: Path) -> None:
    folder = write_base(tmp_path)
    whole = read_base(folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    whole.unet.save_pretrained(folder / "unet", max_shard_size="200KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    again = read_base(folder)
    assert again.fingerprint == whole.fingerprint
    for name in ("unet", "vae"):
        before, after = getattr(whole, name).state_dict(), getattr(again, name).state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_prompt_is_encoded_by_the_folder_s_text_encoder(tmp_path: Path) -> None:
    folder = write_base(tmp_path)
    write_text_encoder(folder)
    nothing, something = read_base(folder), read_base(folder, "sharp photo")
    assert nothing.prompt.shape == something.prompt.shape == (1, 9, 32)
    assert torch.equal(nothing.prompt, read_base(folder).prompt)
    assert not torch.allclose(nothing.prompt, something.prompt, atol=1e-3)
    assert nothing.fingerprint != something.fingerprint


def test_without_transformers_a_text_encoder_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_base(tmp_path)
    write_text_encoder(folder)
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ExgsError, match=r"'transformers'.*extra 'backbone'.*prompt_embedding"):
        read_base(folder)


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("unet/config.json", {"_class_name": "os.system"}, r"unet.config\.json.*_class_name.*os\.system"),
        ("vae/config.json", {"_class_name": "VQModel"}, r"vae.config\.json.*_class_name"),
        ("unet/config.json", {"addition_embed_type": "text_time"}, "addition_embed_type"),
        ("unet/config.json", {"cross_attention_dim": [32, 32]}, "cross_attention_dim"),
        ("unet/config.json", {"cross_attention_dim": 16}, r"unet.*cannot be loaded"),
        ("unet/config.json", {"block_out_channels": [32, 32]}, r"unet.*cannot be loaded"),
        ("unet/config.json", {"quantization_config": {"quant_method": "x"}}, "quantization_config"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction_type"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "mine"}, "beta_schedule"),
        ("scheduler/scheduler_config.json", {"beta_end": 3.0}, "beta_end"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10}, "num_train_timesteps"),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
    ],
)
def test_a_field_that_does_not_fit_is_named(tmp_path: Path, file: str, change: dict[str, Any], named: str) -> None:
    folder = write_base(tmp_path)
    edit(folder / file, **change)
    with pytest.raises(FileError, match=named):
        read_base(folder)


@pytest.mark.parametrize("file", ["unet/config.json", "vae/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    folder = write_base(tmp_path)
    (folder / file).unlink()
    with pytest.raises(FileError, match=f"{Path(file).name}.*missing"):
        read_base(folder)


def test_pickles_are_refused(tmp_path: Path) -> None:
    folder = write_base(tmp_path)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(FileError, match=r"diffusion_pytorch_model\.bin.*refused"):
        read_base(folder)


def test_a_text_encoder_without_safetensors_is_refused(tmp_path: Path) -> None:
    folder = write_base(tmp_path)
    (folder / "prompt_embedding.safetensors").unlink()
    with pytest.raises(FileError, match=r"text_encoder.*missing"):
        read_base(folder)
    for name in ("text_encoder", "tokenizer"):
        (folder / name).mkdir()
    (folder / "text_encoder" / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(FileError, match="model_type"):
        read_base(folder)
    (folder / "text_encoder" / "config.json").write_text('{"model_type": "clip_text_model"}')
    (folder / "text_encoder" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FileError, match="other kinds of weights are refused"):
        read_base(folder)


def test_a_prompt_of_another_width_is_refused(tmp_path: Path) -> None:
    folder = write_base(tmp_path)
    save_file({"prompt": torch.zeros(1, 7, 16)}, folder / "prompt_embedding.safetensors")
    with pytest.raises(FileError, match=r"\[1, 7, 16\].*cross_attention_dim"):
        read_base(folder)
    save_file({"other": torch.zeros(1, 7, 32)}, folder / "prompt_embedding.safetensors")
    with pytest.raises(FileError, match="'prompt'"):
        read_base(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such folder"):
        read_base(tmp_path / "nowhere")
