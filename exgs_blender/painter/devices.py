# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device restores frames, and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ExgsError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def choose_device(device: str = "auto", precision: str = "auto") -> tuple[torch.device, torch.dtype]:
    """The device, and the type in which the denoiser works there.

    Args:
        device: "auto" (CUDA, then Apple's MPS, then the CPU), or a torch device.
        precision: one of PRECISIONS. "auto" is bfloat16 on CUDA (float16 on cards before Ampere), float16 on MPS; on CPUs bfloat16
            where :func:`cpu_has_bfloat16`, else float32. Ask for float32 where frames of different machines must not differ
            in the fourth decimal.

    Raises:
        ExgsError: no such device or precision.
    """
    import torch

    if precision not in PRECISIONS:
        raise ExgsError(f"painter: precision is '{precision}', expected one of {', '.join(PRECISIONS)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ExgsError(f"painter: device '{device}' is unknown; choose 'auto', 'cuda', 'mps' or 'cpu'") from error
    return chosen, getattr(torch, precision) if precision != "auto" else _half_of(chosen)


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself (AVX-512 BF16 or AMX); elsewhere it is emulated, and slower than float32."""
    import torch

    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def _half_of(device: torch.device) -> torch.dtype:
    import torch

    if device.type == "cuda":
        native = not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bfloat16() else torch.float32
