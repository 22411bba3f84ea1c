# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw values <-> linear values. The only place that does it."""

from __future__ import annotations

import numpy as np

from .gaussians import F32

SH_C0 = 0.28209479177387814
"""Y_0^0 = 1 / (2 sqrt(pi)): colour = 0.5 + SH_C0 * sh0 (Kerbl et al. 2023, reference code)."""

MAX_LOGIT = 16.0
"""Logits are clipped to +-16: beyond it float32 opacity is 0 or 1 to 1e-7, and exactly 0 or 1 would be infinite."""


def opacity_from_logit(logit: F32) -> F32:
    """sigmoid; any shape, logits (infinite allowed) -> 0..1."""
    clipped = np.clip(logit, -80.0, 80.0).astype(np.float32)
    return (1.0 / (1.0 + np.exp(-clipped))).astype(np.float32)


def logit_from_opacity(opacity: F32) -> F32:
    """Inverse sigmoid, clipped to +-MAX_LOGIT; any shape, 0..1 -> logits."""
    o = np.asarray(opacity, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        logit = np.log(o) - np.log1p(-o)
    return np.clip(logit, -MAX_LOGIT, MAX_LOGIT).astype(np.float32)


def scale_from_log(log_scale: F32) -> F32:
    """exp; log standard deviation -> standard deviation, scene units. Overflow is clipped to 1e18."""
    return np.exp(np.clip(log_scale, -80.0, 41.0)).astype(np.float32)


def log_from_scale(scale: F32) -> F32:
    """Logarithm of a standard deviation; zero and below become exp(-80)."""
    with np.errstate(invalid="ignore"):  # NaN stays NaN, for whoever checks the cloud
        return np.log(np.maximum(scale, np.float32(1.8e-35))).astype(np.float32)


def unit_quats(quats: F32) -> F32:
    """[N, 4] -> [N, 4] of unit length; a zero quaternion becomes the identity."""
    norm = np.linalg.norm(quats, axis=-1, keepdims=True)
    unit = quats / np.where(norm > 0, norm, 1.0)
    unit[..., 0] = np.where(norm[..., 0] > 0, unit[..., 0], 1.0)
    return unit.astype(np.float32)


def rgb_from_sh0(sh0: F32) -> F32:
    """Degree-0 coefficient -> display-referred colour at no view dependence (not clipped)."""
    return (0.5 + SH_C0 * sh0).astype(np.float32)


def sh0_from_rgb(rgb: F32) -> F32:
    """Display-referred colour -> degree-0 coefficient."""
    return ((rgb - 0.5) / SH_C0).astype(np.float32)
