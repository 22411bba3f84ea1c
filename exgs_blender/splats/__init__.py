# SPDX-License-Identifier: GPL-3.0-or-later
"""The data: Gaussians, their activation, transforms and order. numpy only."""

from .gaussians import MAX_SH_DEGREE, Gaussians, concatenate
from .scene import Scene, SplatObject, objects_of
from .statistics import BlendStatistics, NormalEquations

__all__ = ["MAX_SH_DEGREE", "BlendStatistics", "Gaussians", "NormalEquations", "Scene", "SplatObject", "concatenate", "objects_of"]
