# SPDX-License-Identifier: GPL-3.0-or-later
"""The averaged weights of a training run in float16, in files of limited size: what a lent machine can hand back.

A run's state is eight times as large (weights, average, two moments, float32). From the pieces a run goes on as well, with new moments.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import atomic_path
from ..errors import FileError
from .checkpoint import STATE, save_state
from .train import SIZES, Painted, Preset

LIMIT = 15 << 20
"""Bytes of a piece, less what its header takes."""
PATTERN = "painter-*-of-*.safetensors"
HINT = "Give the folder that the run wrote its pieces to, with all of them"


def write_pieces(run: Path, preset: Preset, folder: Path, limit: int = LIMIT) -> list[Path]:
    """Write ``painter-1-of-N.safetensors`` and so on from the state in ``run``; pieces of before are deleted.

    Raises:
        FileError: there is no state, or no usable one.
    """
    weights, step = _average(run / STATE)
    groups: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in weights.items():
        half = value.to(torch.float16).contiguous()
        if groups[-1] and size + half.nbytes > limit:
            groups.append({})
            size = 0
        groups[-1][name] = half
        size += half.nbytes
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(PATTERN):
        old.unlink()
    facts = {"preset": preset, "step": str(step)}
    paths = [folder / f"painter-{i}-of-{len(groups)}.safetensors" for i in range(1, len(groups) + 1)]
    for path, group in zip(paths, groups, strict=True):
        with atomic_path(path) as part:
            save_file(group, part, metadata=facts)
        path.chmod(0o644)
    return paths


def state_from_pieces(folder: Path, run: Path) -> int:
    """Write a state to go on from, or to export; returns its step.

    Raises:
        FileError: pieces are missing, damaged, or of different runs.
    """
    weights, preset, step = _read(folder)
    model, average = Painted(preset), Painted(preset)
    try:
        for part in (model, average):
            part.load_state_dict(weights)
    except RuntimeError as error:
        raise FileError(folder, f"not the pieces of a painter of size '{preset}' ({' '.join(str(error).split())[:160]})", HINT) from error
    run.mkdir(parents=True, exist_ok=True)
    save_state(run, model, average, torch.optim.AdamW(model.parameters()), step)
    return step


def _average(path: Path) -> tuple[dict[str, Tensor], int]:
    prefix = "average."
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - not a dict
            return {name.removeprefix(prefix): file.get_tensor(name) for name in names}, int(file.metadata()["step"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise FileError(path, f"no training state ({' '.join(str(error).split())[:160]})", "Train first") from error


def _read(folder: Path) -> tuple[dict[str, Tensor], Preset, int]:
    paths = sorted(folder.glob(PATTERN))
    if not paths:
        raise FileError(folder, f"no pieces ({PATTERN}) here", HINT)
    count = paths[0].stem.rsplit("-", 1)[1]
    missing = [i for i in range(1, int(count) + 1) if not (folder / f"painter-{i}-of-{count}.safetensors").is_file()]
    if missing or len(paths) != int(count):
        raise FileError(folder, f"expected {count} pieces, found {len(paths)} (missing: {missing or 'none'})", HINT)
    weights: dict[str, Tensor] = {}
    found = set()
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                found.add((file.metadata()["preset"], int(file.metadata()["step"])))
                weights |= {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise FileError(path, f"no piece of a painter ({' '.join(str(error).split())[:160]})", HINT) from error
    if len(found) != 1:
        raise FileError(folder, f"the pieces are of different runs: {sorted(found)}", HINT)
    preset, step = found.pop()
    if preset not in SIZES:
        raise FileError(folder, f"field 'preset' is '{preset}', expected one of {', '.join(SIZES)}", HINT)
    return weights, preset, step
