# SPDX-License-Identifier: GPL-3.0-or-later
"""Version 1 of the .exgs format, read only: its files decode for ever. docs/exgs-format-v1.md is the specification."""

from .bitstream import decode_gaussians

__all__ = ["decode_gaussians"]
