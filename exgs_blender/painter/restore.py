# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain face of GaussPainter: a Frame in, a Frame out. Nothing here needs torch until a painter is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ExgsError, FileError, MissingDependencyError
from ..render.frame import Frame
from ..splats.gaussians import F32
from ..ugc.guidance import Guidance
from .depth_fill import fill_depth

if TYPE_CHECKING:
    from torch import Tensor

    from .pipeline import GaussPainterPipeline

WEIGHTS = "diffusion_pytorch_model.safetensors"
PIPELINE_CLASS = "GaussPainterPipeline"
WHOLE_FRAME_PIXELS = 4096 * 2304
"""Larger frames are restored in tiles of TILE pixels."""
TILE = 2048
HINT = "Reinstall ExGS, or give a folder that 'save_pretrained' or the training wrote"


def default_weights() -> Path:
    """The folder of the checkpoint that comes with the package."""
    return Path(__file__).resolve().parent / "weights" / "default"


class Painter:
    """Restores single frames. Deterministic: the same frame gives the same result, whatever came before it."""

    def __init__(self, pipeline: GaussPainterPipeline, identity: str = "") -> None:
        self.pipeline = pipeline
        self.identity = identity
        """Of the weights and of ``basis``; mixes fitted with others are not used. Empty: none are."""

    @classmethod
    def load(cls, folder: Path | None = None, device: str = "auto") -> Painter:
        """Load a checkpoint; the network is never used.

        Args:
            folder: as written by ``GaussPainterPipeline.save_pretrained``; None takes the one in the package.
            device: "auto" (CUDA, else CPU), or a torch device. On CUDA it works in bfloat16, elsewhere in float32.

        Raises:
            FileError: the folder is missing, incomplete, or not a GaussPainter checkpoint.
            ExgsError: the device does not exist.
            MissingDependencyError: torch or diffusers is not in this Python.
        """
        folder = Path(folder) if folder is not None else default_weights()
        check_folder(folder)
        try:
            import torch
        except ImportError as error:
            raise MissingDependencyError("torch", "Restoring frames") from error
        chosen = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        pipeline = load_pipeline(folder)
        try:
            with quiet_diffusers():
                pipeline.to(chosen, torch.bfloat16 if chosen.startswith("cuda") else torch.float32)
        except (RuntimeError, AssertionError) as error:
            raise ExgsError(f"painter: device '{device}' cannot be used ({error}); choose 'auto' or 'cpu'") from error
        for part in (pipeline.vae, pipeline.unet):
            part.to(memory_format=torch.channels_last)  # a fifth faster on CPUs, and what tensor cores want
        return cls(pipeline, identity_of(folder))

    def restore(self, frame: Frame, keep_ratio: float, strength: float = 1.0, guidance: str = "") -> Frame:
        """The restored frame; its depth is kept, and filled in where a hole was painted over.

        Args:
            frame: a render of the pruned scene, any size.
            keep_ratio: share of the original Gaussians in the scene, (0, 1]; 1 returns the frame as it is, unless there is a mix.
            strength: 0 (no change) to 1.
            guidance: what the scene's file says, see ``ugc.guidance.Guidance``; empty for nothing.

        Raises:
            ExgsError: a value is out of range, or the frame's arrays do not fit each other.
        """
        from .basis import COUNT

        told = Guidance.parse(guidance)
        mix = told.mix if len(told.mix) == COUNT and told.checkpoint == self.identity else None
        if mix is None and told.refitted and not self.pipeline.config.repairs_refitted:
            return frame
        colours, coverage, _ = self.pipeline(*_batch(frame), keep_ratio, strength=strength, mix=mix, tile=_tile(frame), return_dict=False)
        rgb = np.ascontiguousarray(colours[0].permute(1, 2, 0).cpu().numpy())
        alpha = np.ascontiguousarray(coverage[0, 0].cpu().numpy())
        return replace(frame, rgb=rgb, alpha=alpha, depth=fill_depth(frame.depth, frame.alpha, alpha))

    def looked_at(self, frame: Frame, keep_ratio: float) -> tuple[Tensor, ...]:
        """See ``GaussPainterPipeline.looked_at``; B is 1."""
        import torch

        return self.pipeline.looked_at(*_batch(frame), torch.tensor([keep_ratio]), _tile(frame))


def _batch(frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
    """rgb [1, 3, H, W], alpha and depth [1, 1, H, W]."""
    import torch

    def planes(array: F32) -> Tensor:
        stacked = array[None, None] if array.ndim == 2 else array.transpose(2, 0, 1)[None]
        return torch.from_numpy(np.ascontiguousarray(stacked, dtype=np.float32))

    return planes(frame.rgb), planes(frame.alpha), planes(frame.depth)


def _tile(frame: Frame) -> int | None:
    height, width = frame.alpha.shape
    return TILE if height * width > WHOLE_FRAME_PIXELS else None


def identity_of(folder: Path) -> str:
    """A checkpoint's identity: equal weights, equal text."""
    from .basis import VERSION

    digest = hashlib.blake2b(str(VERSION).encode(), digest_size=6)
    for part in ("vae", "unet"):
        digest.update((folder / part / WEIGHTS).read_bytes())
    return digest.hexdigest()


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

    from .autoencoder import PainterAutoencoder
    from .denoiser import LocalUNet2DModel
    from .pipeline import GaussPainterPipeline

    config = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    try:
        with quiet_diffusers():
            vae = _load_part(PainterAutoencoder, folder / "vae")
            unet = _load_part(LocalUNet2DModel, folder / "unet")
            scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
            made = GaussPainterPipeline(
                vae,
                unet,
                scheduler,
                timestep=int(config["timestep"]),
                trust=config["trust"],
                repairs_refitted=bool(config.get("repairs_refitted", True)),
            )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FileError(folder, f"the GaussPainter checkpoint cannot be loaded ({reason})", HINT) from error
    made.set_progress_bar_config(disable=True)
    return made


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


def _load_part(kind: Any, folder: Path) -> Any:
    """A model of class ``kind`` in float32, with every tensor that it asks for and no other.

    Raises:
        ValueError: tensors are missing or left over.
    """
    import torch

    model, found = kind.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False, torch_dtype=torch.float32, output_loading_info=True
    )
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
    for part in ("vae", "unet"):
        for name in ("config.json", WEIGHTS):
            if not (folder / part / name).is_file():
                raise FileError(folder / part / name, "file of the GaussPainter checkpoint is missing", HINT)
