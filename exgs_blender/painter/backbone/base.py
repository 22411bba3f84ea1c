# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the user's own SD-Turbo-class model from a folder in diffusers' layout; nothing in it is ever executed."""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...errors import ExgsError, FileError
from ..loading import load_part, quiet_diffusers
from .adapters import AUTOENCODERS, PREDICTIONS
from .licence import Licence, read_licence

HINT = "Give a folder that 'save_pretrained' of diffusers wrote for a Stable Diffusion 1, 2 or Turbo model"
WEIGHTS = "diffusion_pytorch_model"
PROMPT_FILE = "prompt_embedding.safetensors"
"""In the base's folder instead of ``text_encoder`` and ``tokenizer``: one tensor ``prompt`` [1, tokens, channels]."""
SCHEDULE = {"num_train_timesteps": 1000, "beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}
"""Fields of the schedule that are taken over, with diffusers' defaults."""
MORE_INPUTS = ("addition_embed_type", "class_embed_type", "num_class_embeds", "encoder_hid_dim", "time_cond_proj_dim")
"""Fields of a UNet that ask for more than latents, time and prompt (SDXL, unCLIP, LCM)."""


@dataclass(frozen=True, eq=False)
class Base:
    """The parts of a base model on the CPU in float32.

    Attributes:
        unet: UNet2DConditionModel; vae: one of AUTOENCODERS.
        prompt: [1, tokens, channels].
        schedule: the fields of SCHEDULE; prediction: one of PREDICTIONS.
        fingerprint: tells two models of one shape apart.
    """

    unet: Any
    vae: Any
    prompt: Tensor
    schedule: dict[str, Any]
    prediction: str
    licence: Licence
    fingerprint: str


def read_base(folder: Path, prompt: str = "") -> Base:
    """Read and check ``unet``, ``vae``, ``scheduler`` and the prompt (``text_encoder`` and ``tokenizer``, or PROMPT_FILE).

    Raises:
        FileError: names the file and the field that does not fit.
        ExgsError: transformers is missing and there is no PROMPT_FILE.
    """
    from diffusers import UNet2DConditionModel

    if not folder.is_dir():
        raise FileError(folder, "no such folder", HINT)
    kind = _class_of(folder / "vae", tuple(AUTOENCODERS))
    _class_of(folder / "unet", ("UNet2DConditionModel",))
    _check_unet(folder / "unet" / "config.json")
    schedule, prediction = _schedule(folder / "scheduler" / "scheduler_config.json")
    unet = _weights(UNet2DConditionModel, folder / "unet")
    vae = _weights(AUTOENCODERS[kind], folder / "vae")
    latents = int(vae.config.latent_channels)
    for name in ("in_channels", "out_channels"):
        if int(unet.config[name]) != latents:
            problem = f"field '{name}' is {unet.config[name]}, expected {latents} as the autoencoder's latent_channels"
            raise FileError(folder / "unet" / "config.json", problem, HINT)
    embedding = _prompt(folder, prompt)
    if embedding.ndim != 3 or len(embedding) != 1 or embedding.shape[2] != unet.config.cross_attention_dim:
        expected = f"[1, tokens, {unet.config.cross_attention_dim}] for the unet's 'cross_attention_dim'"
        raise FileError(folder, f"the prompt embedding has shape {list(embedding.shape)}, expected {expected}", HINT)
    digest = hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in (unet.conv_in.weight, unet.conv_out.weight, embedding)))
    return Base(unet, vae, embedding, schedule, prediction, read_licence(folder), digest.hexdigest())


def arguments_of(model: Any) -> dict[str, Any]:
    """What a diffusers model was constructed with, as plain JSON values."""
    known = inspect.signature(type(model).__init__).parameters
    return {name: value for name, value in json.loads(model.to_json_string()).items() if name in known}


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileError(path, "file of the base model is missing", HINT)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FileError(path, f"not readable as JSON ({error})", HINT) from error
    if not isinstance(found, dict):
        raise FileError(path, "expected a JSON object", HINT)
    if "quantization_config" in found:
        raise FileError(path, "field 'quantization_config': quantised models cannot be trained", HINT)
    return found


def _class_of(folder: Path, allowed: tuple[str, ...]) -> str:
    found = _config(folder / "config.json").get("_class_name")
    if found not in allowed:
        raise FileError(folder / "config.json", f"field '_class_name' is {found!r}, expected {' or '.join(allowed)}", HINT)
    return str(found)


def _check_unet(path: Path) -> None:
    config = _config(path)
    for name in MORE_INPUTS:
        if config.get(name) is not None:
            raise FileError(path, f"field '{name}' is {config[name]!r}: models that need more than a prompt are not supported", HINT)
    if not isinstance(config.get("cross_attention_dim"), int):
        raise FileError(path, f"field 'cross_attention_dim' is {config.get('cross_attention_dim')!r}, expected one number", HINT)


def _schedule(path: Path) -> tuple[dict[str, Any], str]:
    config = _config(path)
    schedule = {name: config.get(name, default) for name, default in SCHEDULE.items()}
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise FileError(path, f"field 'prediction_type' is {prediction!r}, expected one of {', '.join(PREDICTIONS)}", HINT)
    if schedule["beta_schedule"] not in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        raise FileError(path, f"field 'beta_schedule' is {schedule['beta_schedule']!r}, which is not supported", HINT)
    if schedule["num_train_timesteps"] != SCHEDULE["num_train_timesteps"]:
        raise FileError(path, f"field 'num_train_timesteps' is {schedule['num_train_timesteps']!r}, expected 1000", HINT)
    for name in ("beta_start", "beta_end"):
        if not isinstance(schedule[name], float) or not 0 < schedule[name] < 1:
            raise FileError(path, f"field '{name}' is {schedule[name]!r}, expected a number between 0 and 1", HINT)
    for name in ("trained_betas", "rescale_betas_zero_snr"):
        if config.get(name):
            raise FileError(path, f"field '{name}' is set, which is not supported", HINT)
    return schedule, str(prediction)


def _weights(kind: Any, folder: Path) -> Any:
    """A part in float32 from safetensors, whole or in shards, plain or the variant "fp16"."""
    variants = {None: WEIGHTS, "fp16": f"{WEIGHTS}.fp16"}
    shards = {None: f"{WEIGHTS}.safetensors.index", "fp16": f"{WEIGHTS}.safetensors.index.fp16"}
    for variant, stem in variants.items():
        if (folder / f"{stem}.safetensors").is_file() or (folder / f"{shards[variant]}.json").is_file():
            try:
                with quiet_diffusers():
                    return load_part(kind, folder, variant=variant)
            except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
                raise FileError(folder, f"cannot be loaded ({' '.join(str(error).split())[:200]})", HINT) from error
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    if pickles:
        raise FileError(folder / pickles[0], "refused: such files can run code when they are opened", "Save the model as safetensors")
    raise FileError(folder / f"{WEIGHTS}.safetensors", "file of the base model is missing", HINT)


def _prompt(folder: Path, prompt: str) -> Tensor:
    """The embedding [1, tokens, channels], float32."""
    stored = folder / PROMPT_FILE
    if stored.is_file():
        try:
            return load_file(stored)["prompt"].float()
        except (OSError, SafetensorError, KeyError) as error:
            raise FileError(stored, f"expected one tensor 'prompt' [1, tokens, channels] ({error})", HINT) from error
    for name in ("text_encoder", "tokenizer"):
        if not (folder / name).is_dir():
            raise FileError(folder / name, f"folder is missing, and there is no {PROMPT_FILE}", HINT)
    config = _config(folder / "text_encoder" / "config.json")
    if config.get("model_type") != "clip_text_model":
        problem = f"field 'model_type' is {config.get('model_type')!r}, expected 'clip_text_model'"
        raise FileError(folder / "text_encoder" / "config.json", problem, HINT)
    if not list((folder / "text_encoder").glob("*.safetensors")):
        raise FileError(
            folder / "text_encoder", "no safetensors in it; other kinds of weights are refused", "Save the model as safetensors"
        )
    return _encode(folder, prompt)


def _encode(folder: Path, prompt: str) -> Tensor:
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        need = f"reading {folder / 'text_encoder'} needs the Python package 'transformers'"
        raise ExgsError(f"{need}; install ExGS with its extra 'backbone', or store the embedding as {PROMPT_FILE}") from error
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", **safe)
        encoder: Any = CLIPTextModel.from_pretrained(folder / "text_encoder", use_safetensors=True, **safe)
        encoder = encoder.float().eval()
        length = min(int(tokenizer.model_max_length), int(encoder.config.max_position_embeddings))
        tokens = tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
        with torch.inference_mode():
            return encoder(tokens).last_hidden_state.float().clone()
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FileError(folder / "text_encoder", f"text encoder and tokenizer cannot be used ({reason})", HINT) from error
