# SPDX-License-Identifier: GPL-3.0-or-later
"""A tiny pipeline with random weights, and frames to feed it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from exgs_blender.painter.pipeline import GaussPainterPipeline, make_scheduler  # noqa: E402
from exgs_blender.painter.train import Painted  # noqa: E402
from exgs_blender.render.frame import Backend, Frame  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)


@pytest.fixture
def untrained() -> GaussPainterPipeline:
    """Tiny, with the zero last convolution that every model starts with."""
    torch.manual_seed(1)
    model = Painted("tiny").eval()
    pipeline = GaussPainterPipeline(model.vae, model.unet, make_scheduler())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def pipeline(untrained: GaussPainterPipeline) -> GaussPainterPipeline:
    """Tiny, with random weights everywhere: it changes what it sees."""
    torch.manual_seed(2)
    torch.nn.init.normal_(untrained.unet.conv_out.weight, std=0.3)
    return untrained


def random_frame(height: int, width: int, seed: int = 0) -> Frame:
    """Smooth blobs of colour with holes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / rng.uniform(5, 15) + y / rng.uniform(5, 15) + rng.uniform(0, 6)) for _ in range(5)]
    alpha = np.clip(waves[0] + 0.6, 0, 1).astype(np.float32)
    rgb = np.stack([0.5 + 0.5 * w for w in waves[1:4]], axis=2).astype(np.float32) * alpha[..., None]
    depth = np.where(alpha > 0, 3 + waves[4], 0).astype(np.float32)
    return Frame(rgb=rgb, alpha=alpha, depth=depth, backend=Backend("test", "made up"))


def tensors(frame: Frame) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """rgb [1, 3, H, W], alpha [1, 1, H, W], depth [1, 1, H, W]."""
    rgb = torch.from_numpy(np.ascontiguousarray(frame.rgb.transpose(2, 0, 1)))[None]
    return rgb, torch.from_numpy(frame.alpha)[None, None], torch.from_numpy(frame.depth)[None, None]
