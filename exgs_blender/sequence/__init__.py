# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras + cloud -> finished frames: rasterize, restore, colour, files, resume."""
