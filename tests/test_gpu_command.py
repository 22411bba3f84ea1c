# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that waits for a GPU walks its whole way on the CPU: measures, trains, is cut off, goes on, hands back, is unpacked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from exgs_blender.cameras import write_transforms
from exgs_blender.cameras.trajectories import extent_of, orbit
from exgs_blender.formats import write
from exgs_blender.painter.pairs import PairSettings, make_pairs

from .clouds import random_gaussians

ROOT = Path(__file__).resolve().parents[1]


def command(*arguments: str) -> str:
    line = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # torch's threads wait for one another where other tests run beside them
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False, env=alone)
    assert done.returncode == 0, done.stderr
    return done.stdout


def results_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "gpu.json").read_text())


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    cloud = random_gaussians(300, 1, seed=3)
    views = orbit(extent_of(cloud), 2, width=64, height=48)
    settings = PairSettings(ratios=(0.1,), long_sides=(64,))
    for name in ("cloud", "biker"):
        make_pairs(name, cloud, views, views, lambda scene, *_: scene.select(slice(0, 30)), tmp_path / "pairs" / name, settings)
    return tmp_path / "pairs"


def test_dry_run_measures_trains_goes_on_and_hands_back(pairs: Path, tmp_path: Path) -> None:
    work, homes = tmp_path / "work", [tmp_path / f"home{i}" for i in range(3)]
    common = ["--dry-run", "--pairs", str(pairs), "--steps", "4"]

    command(*common, "--work", str(work), "--output", str(homes[0]), "--seconds", "0")  # no time left: one step
    first = results_in(homes[0])
    assert list(first) == ["device", "parity", "speed", "painter_speed", "training"]
    assert first["parity"]["worst_db"] > 80
    assert first["speed"]["cpu_ms"] > 0
    for timed in (first["painter_speed"], first["training"]["speed"]):
        assert timed["device"]
        assert timed["precision"] in ("float32", "bfloat16")
        for size in ("512x512", "1920x1080"):
            assert timed[size]["restore_ms"] > 0
            assert timed[size]["pipeline_ms"] > 0
    assert first["training"]["pairs"] == ["cloud"]
    assert first["training"]["held_out"] == ["biker"]
    assert [first["training"][name] for name in ("steps_before", "steps", "of")] == [0, 1, 4]
    assert {path.name for path in homes[0].iterdir()} == {"gpu.json", "curves.csv", "validation.csv", *first["training"]["pieces"]}

    # The same machine: what was measured is not measured again, the training resumes.
    said = command(*common, "--work", str(work), "--output", str(homes[1]))
    assert [line.split()[0] for line in said.splitlines()] == ["training"]
    second = results_in(homes[1])
    assert [second["training"][name] for name in ("steps_before", "steps")] == [1, 4]
    assert second["speed"] == first["speed"]
    assert len((homes[1] / "curves.csv").read_text().splitlines()) == 5

    # Another machine of this kind: from what the first one handed back.
    (tmp_path / "other").mkdir()
    shutil.copyfile(homes[0] / "gpu.json", tmp_path / "other" / "gpu.json")
    command(*common, "--work", str(tmp_path / "other"), "--output", str(homes[2]), "--start", str(homes[0]))
    third = results_in(homes[2])
    assert [third["training"][name] for name in ("steps_before", "steps")] == [1, 4]

    # At home: a state that can be exported.
    assert "step 4" in command("--output", str(homes[2]), "--unpack", str(tmp_path / "run"))
    with safe_open(tmp_path / "run" / "state.safetensors", framework="pt") as file:
        assert file.metadata()["step"] == "4"


def test_packed_scenes_travel_and_become_pairs(tmp_path: Path) -> None:
    for number in (0, 5):  # one to train on, one of those that are held back
        folder = tmp_path / "made" / f"made-{number:02d}"
        folder.mkdir(parents=True)
        cloud = random_gaussians(300, 1, seed=number)
        write(folder / "point_cloud.ply", cloud)
        write_transforms(folder / "transforms.json", orbit(extent_of(cloud), 3, width=48, height=36))
    pack = [
        sys.executable,
        str(ROOT / "benchmarks" / "train_painter.py"),
        "pack",
        str(tmp_path / "packed"),
        "--made",
        str(tmp_path / "made"),
    ]
    subprocess.run(pack, check=True, timeout=600)
    assert {path.name for path in (tmp_path / "packed").rglob("*.*")} == {"point_cloud.spz", "transforms.json"}

    line = [
        "--dry-run",
        "--made",
        str(tmp_path / "packed"),
        "--steps",
        "1",
        "--work",
        str(tmp_path / "work"),
        "--output",
        str(tmp_path / "home"),
    ]
    command(*line)
    told = results_in(tmp_path / "home")
    assert told["pairing"]["scenes"] == ["made-00", "made-05"]
    assert told["training"]["pairs"] == ["made-00-decimate", "made-00-exgs"]
    assert told["training"]["held_out"] == ["made-05-decimate", "made-05-exgs"]
    assert told["training"]["steps"] == 1


def test_without_cuda_it_says_so(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has the device that must be absent")
    line = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--output", str(tmp_path), "--work", str(tmp_path / "work")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1
    assert "no CUDA device" in done.stderr
