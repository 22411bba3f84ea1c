# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from exgs_blender.errors import ExgsError
from exgs_blender.splats import Gaussians, concatenate
from exgs_blender.splats.activation import (
    log_from_scale,
    logit_from_opacity,
    opacity_from_logit,
    rgb_from_sh0,
    scale_from_log,
    sh0_from_rgb,
    unit_quats,
)
from exgs_blender.splats.morton import morton_codes, morton_order
from tests.clouds import random_gaussians


@pytest.mark.parametrize("degree", range(5))
def test_sh_degree_and_ply_size(degree: int) -> None:
    cloud = random_gaussians(7, degree)
    assert cloud.sh_degree == degree
    assert cloud.ply_bytes == 7 * 4 * (14 + 3 * ((degree + 1) ** 2 - 1))


@pytest.mark.parametrize("field", ["quats", "scales", "opacities", "sh0", "shN"])
def test_wrong_shape_names_the_field(field: str) -> None:
    arrays = dict(random_gaussians(5).arrays())
    arrays[field] = arrays[field][:-1]
    with pytest.raises(ExgsError, match=f"'{field}'.*expected"):
        Gaussians(**arrays)


def test_select_and_concatenate() -> None:
    cloud = random_gaussians(10, 2)
    both = concatenate([cloud.select(slice(0, 4)), cloud.select(np.arange(4, 10)).with_sh_degree(3)])
    assert both.sh_degree == 3
    assert np.array_equal(both.means, cloud.means)
    assert np.array_equal(both.shN[:, :8], cloud.shN)
    assert not both.shN[:, 8:].any()


def test_nonfinite_values_are_found() -> None:
    cloud = random_gaussians(10)
    assert cloud.nonfinite_field() is None
    cloud.scales[3, 1] = np.nan
    assert cloud.nonfinite_field() == ("scales", 3)


def test_activation_round_trips() -> None:
    opacity = np.array([0.0, 1e-4, 0.5, 0.999, 1.0], np.float32)
    assert np.allclose(opacity_from_logit(logit_from_opacity(opacity)), opacity, atol=2e-7)
    assert np.isfinite(logit_from_opacity(opacity)).all()
    scale = np.array([1e-6, 1.0, 1e4], np.float32)
    assert np.allclose(scale_from_log(log_from_scale(scale)), scale, rtol=1e-5)
    rgb = np.linspace(0, 1, 5, dtype=np.float32)
    assert np.allclose(rgb_from_sh0(sh0_from_rgb(rgb)), rgb, atol=1e-6)


def test_unit_quats_mends_zero() -> None:
    quats = unit_quats(np.array([[0, 0, 0, 0], [2, 0, 0, 0], [1, 1, 1, 1]], np.float32))
    assert np.allclose(np.linalg.norm(quats, axis=1), 1)
    assert np.array_equal(quats[0], [1, 0, 0, 0])


def test_morton_order_keeps_neighbours_together() -> None:
    points = np.random.default_rng(0).uniform(size=(4000, 3))
    order = morton_order(points)
    steps = np.linalg.norm(np.diff(points[order], axis=0), axis=1)
    assert sorted(order) == list(range(4000))
    assert steps.mean() < 0.25 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()
    assert morton_codes(np.zeros((0, 3))).shape == (0,)
