# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a training run in one safetensors file: weights, their average, the optimiser, the step."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..atomic import atomic_path
from ..errors import FileError

STATE = "state.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")


def save_state(folder: Path, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Write ``folder/state.safetensors``, all or nothing."""
    tensors: dict[str, Tensor] = {}
    for prefix, module in (("model", model), ("average", average)):
        tensors |= {f"{prefix}.{name}": value.contiguous() for name, value in module.state_dict().items()}
    for name, parameter in model.named_parameters():
        moments = optimiser.state.get(parameter, {})
        tensors |= {f"{kind}.{name}": moments[kind].contiguous() for kind in MOMENTS if kind in moments}
    with atomic_path(folder / STATE) as part:
        save_file(tensors, part, metadata={"step": str(step)})


def load_state(folder: Path, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Restore what :func:`save_state` wrote; returns the number of steps done, 0 where there is no state.

    Raises:
        FileError: the state is damaged or belongs to a model of another size.
    """
    path = folder / STATE
    if not path.is_file():
        return 0
    hint = "Choose another folder, or delete this state to start anew"
    try:
        with safe_open(path, framework="pt") as file:
            step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        for prefix, module in (("model", model), ("average", average)):
            module.load_state_dict({name: tensors[f"{prefix}.{name}"] for name in module.state_dict()})
        fused = any(group.get("fused") for group in optimiser.param_groups)
        for name, parameter in model.named_parameters():
            if f"{MOMENTS[0]}.{name}" in tensors:
                moments = {kind: _like(tensors[f"{kind}.{name}"], parameter) for kind in MOMENTS}
                # Where AdamW itself would have put its count: beside the parameter if one kernel does all.
                count = torch.tensor(float(step), device=parameter.device if fused else "cpu")
                optimiser.state[parameter] = {"step": count, **moments}
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise FileError(path, f"no training state of this model ({' '.join(str(error).split())[:160]})", hint) from error
    return step


def _like(values: Tensor, parameter: Tensor) -> Tensor:
    """``values`` on the parameter's device and in its memory layout, as the optimiser would have made them."""
    made = torch.empty_like(parameter, requires_grad=False)
    made.copy_(values)
    return made
