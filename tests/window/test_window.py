# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Blender's window, driven as a user drives it: what the screenshots show.

Run with BLENDER=/path/to/blender; takes some minutes, most of them Blender's software OpenGL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.blender.images import read_png

from .run import missing, visit

pytestmark = [pytest.mark.blender, pytest.mark.skipif(bool(missing()), reason=f"no window: {missing()}")]
Image = NDArray[np.float64]


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("window")
    return visit(folder, data_dir / "scenes" / "biker.spz"), folder


def test_the_visit_came_to_its_end(visited: tuple[dict[str, Any], Path]) -> None:
    facts, _ = visited
    assert "error" not in facts, facts["error"]
    assert facts["finished"]
    assert facts["enabled"]
    assert facts["told"] == facts["told after orbit"] == f"{facts['splats']:,} of {facts['splats']:,} splats"
    assert facts["clouds after another file"] == 0
    assert facts["threads after disabling"] == []


def test_splats_are_drawn_and_switched_off(visited: tuple[dict[str, Any], Path]) -> None:
    assert _changed(_view(visited, "front"), _view(visited, "off")) > 0.03
    assert _changed(_view(visited, "front"), _view(visited, "orbit")) > 0.03
    assert _changed(_view(visited, "front"), _view(visited, "orbit moving")) > 0.02, "nothing is drawn while the view moves"
    assert _changed(_view(visited, "off"), _view(visited, "wireframe")) > 0, "the ring is there"


def test_turning_in_place_and_back_is_the_same_picture(visited: tuple[dict[str, Any], Path]) -> None:
    """KIRI #68, #13: stale order, white fog, vanishing splats."""
    assert _changed(_view(visited, "turned back"), _view(visited, "orbit")) < 0.001


def test_a_mesh_is_half_hidden(visited: tuple[dict[str, Any], Path]) -> None:
    """KIRI #39, in the window."""
    seen, alone = (_is_green(_view(visited, name)) for name in ("ring", "ring alone"))
    assert alone.sum() > 1000
    assert 0.3 < (seen & alone).sum() / alone.sum() < 0.85, "the figure has to hide the ring's far side alone"


def test_edits_and_undo_show_at_once(visited: tuple[dict[str, Any], Path]) -> None:
    whole, half, undone, moved = (_view(visited, name) for name in ("ring shaded", "half", "undone", "moved"))
    assert _changed(whole, half) > 0.01
    assert _changed(whole, moved) > 0.03
    assert _changed(whole, undone) < 0.001


def test_all_modes_show_the_same_colours(visited: tuple[dict[str, Any], Path]) -> None:
    """KIRI #66, #54: gamma, contrast; and no grid, points or lines through the figure."""
    figure = _figure(visited)
    solid = _view(visited, "front")
    names = ["without overlays", "material", *(["rendered"] if _has(visited, "rendered") else [])]
    for name in names:
        off = np.abs(_view(visited, name) - solid).max(axis=-1)[figure]
        # Another rasterizer rounds differently at the edges of splats; the ring is in front of some in Material mode.
        assert np.median(off) <= 2, name
        assert (off > 24).mean() < 0.12, name


def test_rendered_mode_follows_local_view(visited: tuple[dict[str, Any], Path]) -> None:
    if not _has(visited, "rendered local view"):
        pytest.skip("EXGS_PYTHON names no worker")
    whole, alone, again = (_view(visited, f"rendered {name}") for name in ("over world", "local view", "after local view"))
    assert _changed(whole, alone) > 0.03, "the capture is still there"
    assert _changed(whole, again) < 0.01, "the capture did not come back"


def test_compression_and_renders(visited: tuple[dict[str, Any], Path]) -> None:
    facts, folder = visited
    if not _has(visited, "composite"):
        pytest.skip("EXGS_PYTHON names no worker")
    assert facts["compression"][0].startswith("done: "), facts["compression"]
    assert 0 < facts["splats after compression"] < facts["splats"]
    render = read_png(folder / facts["shots"]["render"])
    composite = read_png(folder / facts["shots"]["composite"])[..., :3]
    assert np.ptp(render[..., :3], axis=(0, 1)).min() > 100
    orange = (composite[..., 0] > 150) & (composite[..., 2] < 100)
    dark = composite.max(axis=-1) < 60
    assert orange.mean() > 0.01, "the ring is missing"
    assert dark.mean() > 0.05, "the figure is missing"


def _has(visited: tuple[dict[str, Any], Path], name: str) -> bool:
    return name in visited[0]["shots"]


def _view(visited: tuple[dict[str, Any], Path], name: str) -> Image:
    """[H, W, 3] the part of a screenshot that is the 3D view, without its toolbar, text and gizmos; 0 to 255."""
    facts, folder = visited
    left, bottom, width, height = facts["region"]
    picture = read_png(folder / facts["shots"][name])[..., :3].astype(float)
    top = len(picture) - bottom - height
    return picture[top + 120 : top + height - 20, left + 80 : left + width - 120]


def _changed(a: Image, b: Image) -> float:
    """Share of the pixels that differ visibly."""
    return float((np.abs(a - b).max(axis=-1) > 8).mean())


def _is_green(image: Image) -> NDArray[np.bool_]:
    return (image[..., 1] > 200) & (image[..., 0] < 60) & (image[..., 2] < 60)


def _figure(visited: tuple[dict[str, Any], Path]) -> NDArray[np.bool_]:
    """Where the splats are, without their soft edge."""
    there = np.abs(_view(visited, "front") - _view(visited, "off")).max(axis=-1) > 8
    for axis in (0, 1):
        there = there & np.roll(there, 3, axis) & np.roll(there, -3, axis)
    return there
