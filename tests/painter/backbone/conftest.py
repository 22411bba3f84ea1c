# SPDX-License-Identifier: GPL-3.0-or-later
"""A tiny random model of the shape of SD-Turbo in a folder, and pairs to train on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers import AutoencoderKL, AutoencoderTiny, EulerDiscreteScheduler, UNet2DConditionModel  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from exgs_blender.cameras.trajectories import extent_of, orbit  # noqa: E402
from exgs_blender.painter.pairs import PairSettings, make_pairs  # noqa: E402

from ...clouds import random_gaussians  # noqa: E402

CARD = """---
license: other
license_name: "made-up community licence"
tags: [tiny]
---
# A model
"""


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backbone") / "cloud"
    cloud = random_gaussians(400, 1, seed=3)
    views = orbit(extent_of(cloud), 3, width=80, height=60)
    settings = PairSettings(ratios=(0.1,), long_sides=(80,))
    make_pairs("cloud", cloud, views, views, lambda scene, *_: scene.select(slice(0, 40)), folder, settings)
    return folder


def write_base(folder: Path, kind: str = "tiny", prediction: str = "epsilon", levels: int = 2) -> Path:
    """A UNet with cross attention, widths 32 and 64; AutoencoderTiny or a small AutoencoderKL, both of factor 4; a stored prompt."""
    torch.manual_seed(4)
    unet = UNet2DConditionModel(
        block_out_channels=(32,) + (64,) * (levels - 1),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) + ("DownBlock2D",) * (levels - 1),
        up_block_types=("UpBlock2D",) * (levels - 1) + ("CrossAttnUpBlock2D",),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
        use_linear_projection=True,
    )
    if kind == "tiny":
        widths = {"encoder_block_out_channels": (32, 32, 32), "decoder_block_out_channels": (32, 32, 32)}
        vae = AutoencoderTiny(**widths, num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1))
    else:
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
        vae = AutoencoderKL(block_out_channels=(16, 16, 32), norm_num_groups=8, latent_channels=4, **blocks)
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction, timestep_spacing="trailing"
    )
    for name, part in (("unet", unet), ("vae", vae), ("scheduler", scheduler)):
        part.save_pretrained(folder / name)
    save_file({"prompt": torch.randn(1, 7, 32)}, folder / "prompt_embedding.safetensors")
    (folder / "README.md").write_text(CARD)
    (folder / "LICENSE.md").write_text("\n\x1b[31mMade-up licence, version 1\nDo as you like.\n")
    return folder


def write_text_encoder(folder: Path) -> None:
    """A tiny CLIP text encoder and a tokenizer of single letters, in the place of the stored prompt."""
    transformers = pytest.importorskip("transformers", reason="reading a text encoder needs transformers")
    (folder / "prompt_embedding.safetensors").unlink()
    words = ["<|startoftext|>", "<|endoftext|>", *(c + end for c in "abcdefghijklmnopqrstuvwxyz" for end in ("", "</w>"))]
    source = folder / "words"
    source.mkdir()
    (source / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (source / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(source / "vocab.json"), str(source / "merges.txt"), model_max_length=9)
    tokenizer.save_pretrained(folder / "tokenizer")
    torch.manual_seed(5)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "projection_dim": 32}
    limits = {"vocab_size": len(words), "max_position_embeddings": 9, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    transformers.CLIPTextModel(transformers.CLIPTextConfig(**sizes, **limits)).save_pretrained(folder / "text_encoder")
