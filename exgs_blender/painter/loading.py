# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the pipeline from a checkpoint's folder: only classes of ours, whatever the folder names, and only safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FileError, MissingDependencyError

if TYPE_CHECKING:
    from .pipeline import GaussPainterPipeline

PIPELINE_CLASS = "GaussPainterPipeline"
WEIGHTS = "diffusion_pytorch_model.safetensors"
KIND = "kind"
"""Field of model_index.json that says what the parts are; absent in checkpoints that are older than it."""
KINDS = ("scratch", "backbone")
HINT = "Reinstall ExGS, or give a folder that 'save_pretrained' or the training wrote"


def load_pipeline(folder: Path) -> GaussPainterPipeline:
    """The pipeline of a checked folder, on the CPU in float32; its parts are ours, whatever classes the folder names.

    Raises:
        FileError: a part is missing, damaged, or has other tensors than its configuration asks for.
        MissingDependencyError: diffusers is not in this Python.
    """
    try:
        from diffusers import DDIMScheduler
    except ImportError as error:
        raise MissingDependencyError("diffusers", "Restoring frames") from error
    from safetensors import SafetensorError

    from .pipeline import GaussPainterPipeline

    config = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    kind = config.get(KIND, KINDS[0])
    autoencoder, denoiser = _classes(kind)
    try:
        with quiet_diffusers():
            vae = load_part(autoencoder, folder / "vae")
            unet = load_part(denoiser, folder / "unet")
            scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
            made = GaussPainterPipeline(
                vae,
                unet,
                scheduler,
                timestep=int(config["timestep"]),
                trust=config["trust"],
                repairs_refitted=bool(config.get("repairs_refitted", True)),
                kind=kind,
            )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FileError(folder, f"the GaussPainter checkpoint cannot be loaded ({reason})", HINT) from error
    made.set_progress_bar_config(disable=True)
    return made


def _classes(kind: str) -> tuple[Any, Any]:
    """Autoencoder and denoiser of a kind of checkpoint."""
    if kind == "backbone":
        from .backbone.adapters import BackboneAutoencoder, BackboneDenoiser

        return BackboneAutoencoder, BackboneDenoiser
    from .autoencoder import PainterAutoencoder
    from .denoiser import LocalUNet2DModel

    return PainterAutoencoder, LocalUNet2DModel


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Without the library's remarks about parts that it does not know."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def load_part(kind: Any, folder: Path, variant: str | None = None) -> Any:
    """A model of class ``kind`` in float32, with every tensor that it asks for and no other; ``variant`` is part of the file's name.

    Raises:
        ValueError: tensors are missing or left over.
    """
    import torch

    safe: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "low_cpu_mem_usage": False, "variant": variant}
    model, found = kind.from_pretrained(folder, torch_dtype=torch.float32, output_loading_info=True, **safe)
    for problem in ("missing_keys", "unexpected_keys"):
        if found[problem]:
            raise ValueError(f"{folder.name} has {problem.replace('_', ' ')}: {', '.join(sorted(found[problem])[:3])}")
    return model


def check_folder(folder: Path) -> None:
    """Raise FileError unless ``folder`` holds a GaussPainter checkpoint's files."""
    index = folder / "model_index.json"
    if not folder.is_dir() or not index.is_file():
        raise FileError(folder, "no GaussPainter checkpoint here: expected a folder with model_index.json", HINT)
    try:
        config = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FileError(index, f"not readable as JSON ({error})", HINT) from error
    found = config.get("_class_name") if isinstance(config, dict) else None
    if found != PIPELINE_CLASS:
        raise FileError(index, f"field '_class_name' is {found!r}, expected '{PIPELINE_CLASS}'", HINT)
    if config.get(KIND, KINDS[0]) not in KINDS:
        raise FileError(index, f"field '{KIND}' is {config[KIND]!r}, expected {' or '.join(KINDS)}", HINT)
    for part in ("vae", "unet"):
        for name in ("config.json", WEIGHTS):
            if not (folder / part / name).is_file():
                raise FileError(folder / part / name, "file of the GaussPainter checkpoint is missing", HINT)
