# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain face of GaussPainter: a Frame in, a Frame out. Nothing here needs torch until a painter is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ExgsError, MissingDependencyError
from ..render.frame import Frame
from ..splats.gaussians import F32
from .depth_fill import fill_depth
from .devices import choose_device
from .loading import check_folder, load_pipeline, quiet_diffusers

if TYPE_CHECKING:
    from .pipeline import GaussPainterPipeline

WHOLE_FRAME_PIXELS = 4096 * 2304
"""Larger frames are restored in tiles of TILE pixels."""
TILE = 2048


def default_weights() -> Path:
    """The folder of the checkpoint that comes with the package."""
    return Path(__file__).resolve().parent / "weights" / "default"


class Painter:
    """Restores single frames. Deterministic: the same frame gives the same result, whatever came before it."""

    def __init__(self, pipeline: GaussPainterPipeline) -> None:
        self.pipeline = pipeline

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
        return cls(pipeline)

    @property
    def precision(self) -> str:
        """What the denoiser works in, e.g. "bfloat16"."""
        return str(self.pipeline.unet.dtype).removeprefix("torch.")

    def restore(self, frame: Frame, keep_ratio: float, strength: float = 1.0) -> Frame:
        """The restored frame; its depth is kept, and filled in where a hole was painted over.

        Args:
            frame: a render of the pruned scene, any size.
            keep_ratio: share of the original Gaussians in the scene, (0, 1]; 1 returns the frame as it is.
            strength: 0 (no change) to 1.

        Raises:
            ExgsError: a value is out of range, or the frame's arrays do not fit each other.
        """
        import torch

        def batch(array: F32) -> torch.Tensor:
            planes = array[None, None] if array.ndim == 2 else array.transpose(2, 0, 1)[None]
            return torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))

        height, width = frame.alpha.shape
        tile = TILE if height * width > WHOLE_FRAME_PIXELS else None
        colours, coverage, _ = self.pipeline(
            batch(frame.rgb), batch(frame.alpha), batch(frame.depth), keep_ratio, strength=strength, tile=tile, return_dict=False
        )
        rgb = np.ascontiguousarray(colours[0].permute(1, 2, 0).cpu().numpy())
        alpha = np.ascontiguousarray(coverage[0, 0].cpu().numpy())
        return replace(frame, rgb=rgb, alpha=alpha, depth=fill_depth(frame.depth, frame.alpha, alpha))
