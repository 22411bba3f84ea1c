# SPDX-License-Identifier: GPL-3.0-or-later
"""A painter whose changes cannot be overlooked, as a checkpoint on disk."""

from __future__ import annotations

from pathlib import Path


def save_wild_painter(folder: Path) -> Path:
    """A tiny pipeline with random weights; returns ``folder``."""
    import torch

    from exgs_blender.painter.pipeline import GaussPainterPipeline, make_scheduler
    from exgs_blender.painter.train import Painted

    torch.manual_seed(1)
    model = Painted("tiny").eval()
    torch.nn.init.normal_(model.unet.conv_out.weight, std=0.3)
    GaussPainterPipeline(model.vae, model.unet, make_scheduler()).save_pretrained(folder)
    return folder
