# SPDX-License-Identifier: GPL-3.0-or-later
"""What KHR_gaussian_splatting calls things, and the signs between glTF's axes and a PLY's."""

from __future__ import annotations

import numpy as np

from ..splats.spherical_harmonics import sh_signs

EXTENSION = "KHR_gaussian_splatting"
SCALE, ROTATION, OPACITY = f"{EXTENSION}:SCALE", f"{EXTENSION}:ROTATION", f"{EXTENSION}:OPACITY"
RDF_FROM_LUF = (-1, -1, 1)
MAX_SH_DEGREE = 3
AXIS_SIGNS = np.array(RDF_FROM_LUF, np.float32)
SH_SIGNS = sh_signs(MAX_SH_DEGREE, RDF_FROM_LUF)[:, None]
SRGB, LINEAR = "srgb_rec709_display", "lin_rec709_display"


def sh_name(degree: int, index: int) -> str:
    return f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{index}"


def sh_names(degree: int) -> list[str]:
    """All coefficients up to a degree, in the order of ``Gaussians``."""
    return [sh_name(band, index) for band in range(degree + 1) for index in range(2 * band + 1)]
