# SPDX-License-Identifier: GPL-3.0-or-later
"""``exgs train-painter``: captures in, a checkpoint with its card out, resumed where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.cli import main
from exgs_blender.errors import ExgsError
from exgs_blender.formats import registry
from exgs_blender.painter import Painter
from exgs_blender.painter.pairs import PairSettings, open_pairs
from exgs_blender.painter.recipe import Recipe, name_of, train_painter, views_of
from exgs_blender.painter.train import TrainSettings
from exgs_blender.render.rasterize import rasterize

from ..clouds import random_gaussians


@pytest.fixture
def captures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "one.ply", tmp_path / "two" / "point_cloud.ply"]
    for seed, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        registry.write(path, random_gaussians(300, 1, seed=seed))
    return paths


def test_names_come_from_the_file_or_its_folder(captures: list[Path]) -> None:
    assert [name_of(path) for path in captures] == ["one", "two"]
    assert name_of(Path("guitar.compressed.ply")) == "guitar"


def test_a_camera_file_beside_a_capture_gives_its_views(captures: list[Path]) -> None:
    cloud = registry.read(captures[1])
    scored, pairs = views_of(captures[1], cloud)
    assert (len(scored), len(pairs)) == (28, 32)
    views = [{"id": i, "img_name": f"{i}", "width": 64, "height": 48, "fx": 50.0, "fy": 50.0} for i in range(5)]
    places = [{**view, "position": [0.0, 0.0, -3.0 - i], "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]} for i, view in enumerate(views)]
    (captures[1].parent / "cameras.json").write_text(json.dumps(places), encoding="utf-8")
    scored, pairs = views_of(captures[1], cloud)
    assert (len(scored), len(pairs)) == (5, 5)
    assert pairs.names == ("0", "1", "2", "3", "4")


def test_from_captures_to_a_checkpoint(captures: list[Path], tmp_path: Path) -> None:
    small = PairSettings(ratios=(0.1,), long_sides=(64,))
    recipe = Recipe(tmp_path / "work", (captures[0],), (captures[1],), ("decimate",), small)
    settings = TrainSettings(pairs=(tmp_path,), out=tmp_path, preset="tiny", steps=2, batch=2, crop=32, validate_every=1)
    trained = train_painter(recipe, settings, tmp_path / "model")
    assert trained.steps == 2
    assert [row.keep for row in trained.trust] == [0.1]
    assert open_pairs(tmp_path / "work" / "pairs" / "one-decimate").ratios == (0.1,)
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "- one, 300 Gaussians" in card
    assert "- two, 300 Gaussians" in card
    assert "| keep ratio | gain |" in card
    painter = Painter.load(tmp_path / "model", "cpu")
    assert painter.pipeline.config.repairs_refitted is False
    cloud = registry.read(captures[1])
    assert painter.restore(rasterize(cloud, orbit(extent_of(cloud), 1, width=50, height=40)), 0.1).rgb.shape == (40, 50, 3)


def test_no_scene_is_trained_and_validated_on(captures: list[Path], tmp_path: Path) -> None:
    settings = TrainSettings(pairs=(tmp_path,), out=tmp_path)
    with pytest.raises(ExgsError, match="two scenes are named 'one'"):
        train_painter(Recipe(tmp_path, (captures[0],), (captures[0],)), settings, tmp_path / "model")
    with pytest.raises(ExgsError, match="one to validate on"):
        train_painter(Recipe(tmp_path, (captures[0],), ()), settings, tmp_path / "model")


def test_the_command_trains_and_goes_on(captures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--preset", "tiny", "--batch", "1", "--crop", "32", "--cuts", "decimate", "--steps", "3", "--ratios", "0.1", "--sides", "64"]
    command = ["train-painter", str(tmp_path / "work"), "--scenes", str(captures[0]), "--validation", str(captures[1]), *small]
    assert main([*command, "--time-limit", "1e-9"]) == 0
    assert "1 of 3 steps\n  stopped by the time limit" in capsys.readouterr().out
    assert main(command) == 0
    assert f"--checkpoint {tmp_path / 'work' / 'model'}" in capsys.readouterr().out
    assert (tmp_path / "work" / "model" / "model_index.json").is_file()
