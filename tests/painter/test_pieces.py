# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's weights in pieces, and a run from pieces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from exgs_blender.errors import FileError
from exgs_blender.painter.checkpoint import save_state
from exgs_blender.painter.pieces import LIMIT, PATTERN, state_from_pieces, write_pieces
from exgs_blender.painter.train import Painted, Preset


def make_run(folder: Path, preset: Preset, step: int) -> Painted:
    folder.mkdir(parents=True)
    model, average = Painted(preset), Painted(preset)
    save_state(folder, model, average, torch.optim.AdamW(model.parameters()), step)
    return average


def test_full_size_fits_what_a_lent_machine_hands_back(tmp_path: Path) -> None:
    average = make_run(tmp_path / "run", "full", 7)
    paths = write_pieces(tmp_path / "run", "full", tmp_path / "pieces")
    sizes = [path.stat().st_size for path in paths]
    assert max(sizes) < 16 << 20
    assert len(sizes) <= 4
    assert sum(sizes) < 40_000_000
    assert state_from_pieces(tmp_path / "pieces", tmp_path / "again") == 7
    state = load_file(tmp_path / "again" / "state.safetensors")
    for name, value in average.state_dict().items():
        for kind in ("model", "average"):
            assert torch.equal(state[f"{kind}.{name}"], value.half().float())


def test_pieces_of_before_are_gone(tmp_path: Path) -> None:
    make_run(tmp_path / "run", "tiny", 1)
    many = write_pieces(tmp_path / "run", "tiny", tmp_path / "pieces", limit=20_000)
    assert len(many) > 3
    assert max(path.stat().st_size for path in many) < 20_000 + 60_000  # the largest tensor has a piece of its own
    assert len(write_pieces(tmp_path / "run", "tiny", tmp_path / "pieces", LIMIT)) == 1
    assert len(list((tmp_path / "pieces").glob(PATTERN))) == 1


def test_unusable_pieces_are_named(tmp_path: Path) -> None:
    make_run(tmp_path / "run", "tiny", 1)
    folder = tmp_path / "pieces"
    with pytest.raises(FileError, match="no pieces"):
        state_from_pieces(folder, tmp_path / "again")
    with pytest.raises(FileError, match=r"state\.safetensors.*no training state"):
        write_pieces(tmp_path / "nowhere", "tiny", folder)
    paths = write_pieces(tmp_path / "run", "tiny", folder, limit=80_000)
    kept = paths[1].read_bytes()
    paths[1].unlink()
    with pytest.raises(FileError, match=r"missing: \[2\]"):
        state_from_pieces(folder, tmp_path / "again")
    paths[1].write_bytes(kept[:-5])
    with pytest.raises(FileError, match=f"{paths[1].name}.*no piece"):
        state_from_pieces(folder, tmp_path / "again")
    paths[1].write_bytes(kept)
    weights = load_file(paths[1])
    save_file(weights, paths[1], metadata={"preset": "tiny", "step": "2"})
    with pytest.raises(FileError, match="different runs"):
        state_from_pieces(folder, tmp_path / "again")
    weights.popitem()
    save_file(weights, paths[1], metadata={"preset": "tiny", "step": "1"})
    with pytest.raises(FileError, match="not the pieces of a painter"):
        state_from_pieces(folder, tmp_path / "again")
    assert not (tmp_path / "again").exists()
