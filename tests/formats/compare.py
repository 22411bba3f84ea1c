# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between a cloud and what came back from a lossy format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from exgs_blender import formats
from exgs_blender.errors import ExgsError
from exgs_blender.splats import Gaussians
from exgs_blender.splats.activation import opacity_from_logit, unit_quats


def differences(a: Gaussians, b: Gaussians) -> dict[str, float]:
    """Largest absolute difference of each field; opacity as 0..1, rotations as unit quaternions of equal sign."""
    assert (len(a), a.sh_degree) == (len(b), b.sh_degree)
    first, second = unit_quats(a.quats), unit_quats(b.quats)
    second = second * np.where((first * second).sum(axis=1, keepdims=True) < 0, -1, 1)
    found = {name: float(np.abs(x - getattr(b, name)).max(initial=0)) for name, x in a.arrays()}
    found["quats"] = float(np.abs(first - second).max())
    found["opacities"] = float(np.abs(opacity_from_logit(a.opacities) - opacity_from_logit(b.opacities)).max())
    return found


def assert_within(a: Gaussians, b: Gaussians, **limits: float) -> None:
    """Every field within its limit (name=limit); fields that are not named must be equal to 1e-6."""
    for name, found in differences(a, b).items():
        assert found <= limits.get(name, 1e-6), f"{name}: {found} > {limits.get(name, 1e-6)}"


def in_order_of(cloud: Gaussians, other: Gaussians) -> Gaussians:
    """A cloud whose Gaussians are found again by their positions in another order."""
    nearest = np.linalg.norm(cloud.means[None] - other.means[:, None], axis=2).argmin(axis=1)
    assert len(set(nearest)) == len(cloud)
    return cloud.select(nearest)


def refusal(path: Path) -> str:
    """The error that reading ends in, "" where the file reads; any exception that no user should see passes through."""
    try:
        cloud = formats.read(path)
    except ExgsError as error:
        return str(error)
    assert len(cloud) > 0
    return ""
