# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's own Apply, Join and geometry nodes move points alone; shapes, sizes and view-dependent colours come along all the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from exgs_blender import formats
from exgs_blender.splats import SplatObject, concatenate
from exgs_blender.splats.transforms import transformed
from tests.render.views import around, psnr

from .harness import RunInBlender

rasterize = pytest.importorskip("exgs_blender.render.rasterize")

pytestmark = pytest.mark.blender
SAME_DB = 70.0


def test_pictures_stay_whatever_moved_the_points(blender: RunInBlender) -> None:
    """GSOPs #3, UnityGaussianSplatting #39: SH not turned with the object."""
    found = blender("native_edits")
    figures = {
        f"{name}: {kind}": _psnr(case["expected"], case[kind])
        for name, case in found["cases"].items()
        for kind in case
        if kind != "expected"
    }
    print("\n".join(f"{name} {figure:.1f} dB" for name, figure in figures.items()))
    assert not {name: figure for name, figure in figures.items() if not figure > SAME_DB}
    assert len(figures) >= 40
    assert found["kept as they are"], "a cloud of others was changed"
    assert not found["ours"]["nothing to write"]
    assert found["ours"]["rest"] == 0
    assert found["ours"]["rotation"] == 0
    assert found["survives"] == []


def _psnr(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> float:
    """The worse of two views, each from outside."""
    wanted, got = _objects(expected), _objects(found)
    assert sum(len(o.gaussians) for o in wanted) == sum(len(o.gaussians) for o in got)
    views = around(concatenate([transformed(o.gaussians, o.world_from_object) for o in wanted]), width=200, height=150)
    pictures = [[frame.rgb for frame in rasterize.rasterize_all(objects, views, backend="cpu")] for objects in (wanted, got)]
    assert np.ptp(pictures[0][0]) > 0.3, "nothing to compare"
    return min(psnr(a, b) for a, b in zip(*pictures, strict=True))


def _objects(parts: list[dict[str, Any]]) -> list[SplatObject]:
    return [SplatObject(formats.read(part["file"]), np.array(part["matrix"])) for part in parts]
