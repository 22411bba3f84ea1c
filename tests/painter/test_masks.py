# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import torch

from exgs_blender.painter.masks import GUIDANCE, gate, guidance, nearness_from_depth, pruning_level, repair_level


def test_guidance_pools_holes_and_spreads_the_keep_ratio() -> None:
    alpha = torch.ones(2, 1, 16, 24)
    alpha[0, 0, 3, 5] = 0.2
    near = torch.full_like(alpha, 0.5)
    made = guidance(alpha, near, torch.tensor([0.1, 1.0]), 8)
    assert made.shape == (2, len(GUIDANCE), 2, 3)
    mean, peak, nearness, pruning = made[0]
    assert torch.isclose(mean[0, 0], torch.tensor(0.8 / 64))
    assert torch.isclose(peak[0, 0], torch.tensor(0.8))
    assert peak[1, 2] == 0
    assert torch.allclose(nearness, torch.tensor(0.5))
    assert torch.allclose(pruning, torch.tensor(0.5))
    assert torch.all(made[1, 3] == 0)


def test_nearness_forgets_the_scale_of_the_scene() -> None:
    depth = torch.rand(1, 1, 9, 7) + 1
    alpha = torch.ones_like(depth)
    alpha[..., 0, :] = 0
    small, large = (nearness_from_depth(depth * s, alpha) for s in (1.0, 250.0))
    assert torch.allclose(small, large, atol=1e-6)
    assert torch.all(small[..., 0, :] == 0)
    assert torch.isclose(small[alpha > 0].median(), torch.tensor(0.5), atol=0.02)


def test_nearness_of_an_empty_frame_is_zero() -> None:
    assert torch.all(nearness_from_depth(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)) == 0)


def test_pruning_level_is_bounded() -> None:
    levels = pruning_level(torch.tensor([1.0, 0.1, 0.01, 1e-9]))
    assert torch.allclose(levels, torch.tensor([0.0, 0.5, 1.0, 1.5]))


def test_gate_is_closed_at_full_keep_and_in_the_far_background() -> None:
    alpha = torch.zeros(1, 1, 96, 96)
    alpha[..., :8, :8] = 1
    assert torch.all(gate(alpha, torch.tensor([1.0]), 8) == 0)
    opened = gate(alpha, torch.tensor([0.1]), 8)[0, 0]
    assert torch.all(opened[:16, :16] == 1)
    assert torch.all(opened[40:, 40:] == 0)


def test_repair_grows_from_none_to_all() -> None:
    levels = repair_level(torch.tensor([1.0, 0.5, 0.1**0.5, 0.2, 0.01]))
    assert levels.tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-5)
