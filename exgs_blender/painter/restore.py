# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain face of GaussPainter: a Frame in, a Frame out. Nothing here needs torch until a painter is loaded."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ExgsError, MissingDependencyError
from ..render.frame import Frame
from ..splats.gaussians import F32
from ..ugc.guidance import Guidance
from .depth_fill import fill_depth
from .devices import choose_device
from .loading import WEIGHTS, check_folder, load_pipeline, quiet_diffusers

if TYPE_CHECKING:
    from torch import Tensor

    from .pipeline import GaussPainterPipeline

WHOLE_FRAME_PIXELS = 4096 * 2304
"""Larger frames are restored in tiles of TILE pixels."""
TILE = 2048


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
    def load(cls, folder: Path | None = None, device: str = "auto", precision: str = "auto") -> Painter:
        """Load a checkpoint; the network is never used.

        Args:
            folder: as written by ``GaussPainterPipeline.save_pretrained``; None takes the one in the package.
            device: "auto" or a torch device; precision: "auto" or a type; see ``devices.choose_device``.

        Raises:
            FileError: the folder is missing, incomplete, or not a GaussPainter checkpoint.
            ExgsError: the device or the precision does not exist.
            MissingDependencyError: torch or diffusers is not in this Python.
        """
        folder = Path(folder) if folder is not None else default_weights()
        check_folder(folder)
        try:
            import torch
        except ImportError as error:
            raise MissingDependencyError("torch", "Restoring frames") from error
        chosen, precise = choose_device(device, precision)
        pipeline = load_pipeline(folder)
        try:
            with quiet_diffusers():
                pipeline.to(chosen)
                pipeline.unet.to(precise)  # the autoencoder stays in float32: rounding would not cancel in the difference of two decodings
        except (RuntimeError, AssertionError) as error:
            raise ExgsError(f"painter: device '{device}' cannot be used ({error}); choose 'auto' or 'cpu'") from error
        for part in (pipeline.vae, pipeline.unet):
            part.to(memory_format=torch.channels_last)  # a fifth faster on CPUs, and what tensor cores want
        return cls(pipeline, identity_of(folder))

    @property
    def precision(self) -> str:
        """What the denoiser works in, e.g. "bfloat16"."""
        return str(self.pipeline.unet.dtype).removeprefix("torch.")

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
        with (folder / part / WEIGHTS).open("rb") as file:
            while piece := file.read(1 << 24):
                digest.update(piece)
    return digest.hexdigest()
