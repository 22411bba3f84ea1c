# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands as a user and as a program sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exgs_blender.cameras import write_cameras
from exgs_blender.cameras.trajectories import extent_of, turntable
from exgs_blender.cli import main
from exgs_blender.formats import read, write
from exgs_blender.worker.protocol import Done, Failed, Progress, decode
from tests.clouds import random_gaussians


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "capture.ply"
    write(path, random_gaussians(6000, 2))
    return path


@pytest.fixture(scope="module")
def shot(capture: Path) -> Path:
    path = capture.with_name("shot.json")
    write_cameras(path, turntable(extent_of(read(capture)), 3, width=64, height=48))
    return path


def test_info_for_a_person(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(capture)]) == 0
    out = capsys.readouterr().out
    assert "6,000" in out
    assert "ply" in out


def test_info_for_a_program(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(capture), "--progress", "json"]) == 0
    messages = [decode(line) for line in capsys.readouterr().out.splitlines()]
    assert isinstance(messages[0], Progress)
    assert isinstance(messages[-1], Done)
    assert messages[-1].result["gaussians"] == 6000


def test_compress_render_eval(capture: Path, shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asset, frames = tmp_path / "a.exgs", tmp_path / "frames"
    assert main(["compress", str(capture), str(asset), "--ratio", "20", "--cameras", str(shot)]) == 0
    assert asset.stat().st_size <= read(capture).ply_bytes / 20
    assert main(["render", str(asset), "--cameras", str(shot), "--output", str(frames), "--format", "exr", "--no-restore"]) == 0
    assert sorted(p.name for p in frames.glob("*.exr")) == ["0001.exr", "0002.exr", "0003.exr"]
    assert main(["render", str(asset), "--cameras", str(shot), "--output", str(tmp_path / "png"), "--size", "32"]) == 0
    from PIL import Image

    pictures = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "png").glob("*.png"))]
    assert len(pictures) == 3
    assert pictures[0].shape == (24, 32, 4)
    assert all(p.max() > 30 for p in pictures)
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 1
    capsys.readouterr()
    assert main(["eval", str(capture), str(asset), "--progress", "json", "--views", "2"]) == 0
    result = decode(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(result, Done)
    assert 5 < result.result["psnr"] < 60
    assert len(result.result["views"]) == 2
    assert 0 < result.result["flip"] < 1


def test_compression_reports_beside_the_asset(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asset = tmp_path / "a.exgs"
    assert main(["compress", str(capture), str(asset), "--ratio", "20", "--progress", "json"]) == 0
    result = decode(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(result, Done)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.exgs", "a.exgs.report.html", "a.exgs.report.json"]
    told = json.loads((tmp_path / "a.exgs.report.json").read_text())
    assert result.result["report"] == str(tmp_path / "a.exgs.report.html")
    assert result.result["headline"] == told["headline"]
    assert result.result["seconds"]["report"] > 0
    assert told["candidate_bytes"] == asset.stat().st_size == result.result["bytes"]
    assert told["attributes"] == result.result["sections"]
    assert 0.9 * asset.stat().st_size < sum(told["sections"].values()) < asset.stat().st_size
    assert told["settings"]["views"] == told["judged"]["kind"] == "generated"
    assert told["judged"]["scored_views"] == 24
    assert len(told["views"]) == 8
    assert told["headline"] in (tmp_path / "a.exgs.report.html").read_text().replace("&gt;", ">")
    assert main(["eval", str(capture), str(asset), "--progress", "json"]) == 0
    later = decode(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(later, Done)
    assert later.result["headline"] == told["headline"], "the same views judge later"


def test_compression_without_a_report(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", str(capture), str(tmp_path / "a.exgs"), "--ratio", "20", "--no-report", "--progress", "none"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.exgs"]
    assert " dB" not in capsys.readouterr().out


def test_a_shot_is_judged_between_its_frames(capture: Path, shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its asset says that it was made for a shot, so that a later ``eval`` does not judge on scored frames either."""
    asset, page = tmp_path / "a.exgs", tmp_path / "pages" / "of the shot.html"
    arguments = ["compress", str(capture), str(asset), "--ratio", "20", "--cameras", str(shot), "--shot", "--report", str(page)]
    assert main([*arguments, "--progress", "none"]) == 0
    out = capsys.readouterr().out
    assert f"report: {page}" in out
    assert "lie near scored ones" in out
    told = json.loads(page.with_suffix(".json").read_text())
    assert told["judged"]["kind"] == "between"
    assert min(told["judged"]["picture_widths_to_nearest_scored_view"]) > 0.01
    names = [view["name"] for view in told["views"]]
    assert names == ["0001-0002", "0002-0003"]
    for more in ([], ["--shot"]):
        numbers = tmp_path / "numbers.json"
        again = ["eval", str(capture), str(asset), "--cameras", str(shot), "--json", str(numbers), "--progress", "none", *more]
        assert main(again) == 0
        assert [view["name"] for view in json.loads(numbers.read_text())["views"]] == names
    assert not (tmp_path / "numbers.html").exists()


def test_held_out_views_of_a_file_judge(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cameras, asset, page = tmp_path / "cameras.json", tmp_path / "a.exgs", tmp_path / "page.html"
    write_cameras(cameras, turntable(extent_of(read(capture)), 17, width=64, height=48))
    assert main(["compress", str(capture), str(asset), "--ratio", "20", "--cameras", str(cameras), "--progress", "none"]) == 0
    after_compression = json.loads((tmp_path / "a.exgs.report.json").read_text())
    arguments = ["eval", str(capture), str(asset), "--cameras", str(cameras), "--html", str(page), "--json", str(tmp_path / "n.json")]
    assert main([*arguments, "--progress", "none"]) == 0
    later = json.loads((tmp_path / "n.json").read_text())
    for told in (after_compression, later):
        assert told["judged"]["kind"] == "held-out"
        assert [view["name"] for view in told["views"]] == ["0001", "0009", "0017"]
    assert later["views"] == after_compression["views"]
    assert page.exists()
    assert f"report: {page}" in capsys.readouterr().out


def test_original_against_itself(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(capture), str(capture), "--progress", "json", "--views", "1"]) == 0
    result = decode(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(result, Done)
    assert result.result["psnr"] > 90


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["info", "{tmp}/none.ply"], "does not exist"),
        (["info", "{tmp}/empty.ply"], "file is empty"),
        (["info", "{tmp}/text.ply"], "not a splat file"),
        (["convert", "{capture}", "{tmp}/x.obj"], "no format with this suffix"),
        (["compress", "{capture}", "{tmp}/x.ply"], "must end in .exgs"),
        (["eval", "{capture}", "{capture}", "--views", "1", "--html", "{tmp}/empty.ply/page.html"], "cannot be written"),
        (["render", "{capture}", "--cameras", "{tmp}/none.json", "--output", "{tmp}/o"], "camera file does not exist"),
        (["render", "{capture}", "--cameras", "{shot}", "--output", "{tmp}/empty.ply/o", "--no-restore"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], expected: str, capture: Path, shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.ply").touch()
    (tmp_path / "text.ply").write_text("hello")
    filled = [a.format(tmp=tmp_path, capture=capture, shot=shot) for a in arguments]
    assert main([*filled, "--progress", "none"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("exgs: ")
    assert captured.err.count("\n") == 1
    assert expected in captured.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.ply", "text.ply"]


def test_failure_for_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "none.ply"), "--progress", "json"]) == 1
    message = decode(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(message, Failed)
    assert "does not exist" in message.message


@pytest.mark.parametrize("arguments", [[], ["fly"], ["compress", "a", "b", "--ratio", "0.5"], ["render", "a"]])
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--progress", "json"]) == 0
    result = decode(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(result, Done)
    assert result.result["healthy"]
    assert json.dumps(result.result)


def test_console_command_is_installed() -> None:
    command = Path(sys.executable).with_name("exgs")
    done = subprocess.run([str(command), "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("exgs ")
