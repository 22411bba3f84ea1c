# SPDX-License-Identifier: GPL-3.0-or-later
"""Calibrated views: the data, Blender's conventions, camera files, view sets. numpy only."""

from .cameras import CameraModel, Cameras, concatenate, evenly_picked
from .colmap import write_colmap
from .files import read_cameras, write_cameras, write_transforms

__all__ = ["CameraModel", "Cameras", "concatenate", "evenly_picked", "read_cameras", "write_cameras", "write_colmap", "write_transforms"]
