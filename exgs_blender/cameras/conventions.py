# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's cameras <-> OpenCV's. Functions are named ``result_from_source``.

Blender looks along -Z with +Y up; OpenCV (and gsplat) along +Z with +Y down. The formulas follow what
``Object.calc_matrix_camera`` does, and the tests compare with it on random cameras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .cameras import F64, CameraModel

FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class BlenderLens:
    """The properties of a Blender camera and scene that decide where a point lands, with Blender's names.

    ``lens`` and the sensor are in millimetres, ``ortho_scale`` in world units, shifts in units of the
    fitted side, ``resolution_percentage`` in percent.
    """

    resolution_x: int
    resolution_y: int
    resolution_percentage: float = 100.0
    pixel_aspect_x: float = 1.0
    pixel_aspect_y: float = 1.0
    type: Literal["PERSP", "ORTHO"] = "PERSP"
    lens: float = 50.0
    ortho_scale: float = 6.0
    sensor_fit: Literal["AUTO", "HORIZONTAL", "VERTICAL"] = "AUTO"
    sensor_width: float = 36.0
    sensor_height: float = 24.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    @property
    def camera_model(self) -> CameraModel:
        return "pinhole" if self.type == "PERSP" else "ortho"

    @property
    def size(self) -> tuple[int, int]:
        """Rendered width and height in pixels."""
        return (
            max(int(self.resolution_x * self.resolution_percentage / 100), 1),
            max(int(self.resolution_y * self.resolution_percentage / 100), 1),
        )


def K_from_blender(lens: BlenderLens) -> F64:
    """[3, 3] intrinsics in pixels of a Blender camera (for ORTHO: pixels per world unit)."""
    width, height = lens.size
    ax, ay = lens.pixel_aspect_x, lens.pixel_aspect_y
    horizontal = lens.sensor_fit == "HORIZONTAL" or (lens.sensor_fit == "AUTO" and width * ax >= height * ay)
    # AUTO always measures with the sensor's width, whichever side it is fitted to.
    sensor = lens.sensor_height if lens.sensor_fit == "VERTICAL" else lens.sensor_width
    extent = width * ax if horizontal else height * ay
    f = extent / lens.ortho_scale if lens.type == "ORTHO" else extent * lens.lens / sensor
    cx = width / 2 - lens.shift_x * extent / ax
    cy = height / 2 + lens.shift_y * extent / ay
    return np.array([[f / ax, 0.0, cx], [0.0, f / ay, cy], [0.0, 0.0, 1.0]])


def cam_from_world_from_blender(matrix_world: F64) -> F64:
    """[4, 4] world-from-object matrix of a Blender camera -> cam_from_world with OpenCV axes.

    Blender ignores the scale of a camera object, so it is divided out of each axis.
    """
    world_from_cam = np.array(matrix_world, np.float64)
    lengths = np.linalg.norm(world_from_cam[:3, :3], axis=0)
    world_from_cam[:3, :3] /= np.where(lengths > 0, lengths, 1.0)
    return FLIP_YZ @ np.linalg.inv(world_from_cam)


def matrix_world_from_cam_from_world(viewmat: F64) -> F64:
    """The inverse of :func:`cam_from_world_from_blender` for a rigid ``viewmat`` [4, 4]."""
    return np.linalg.inv(viewmat) @ FLIP_YZ


def lens_from_K(K: F64, width: int, height: int, sensor_width: float = 36.0) -> BlenderLens:
    """A perspective Blender camera that reproduces intrinsics [3, 3] with square sensor fit HORIZONTAL."""
    fx, fy = float(K[0, 0]), float(K[1, 1])
    # pixel aspect must be >= 1 in Blender: stretch the axis that has the longer focal length in pixels.
    ax, ay = (1.0, fx / fy) if fx >= fy else (fy / fx, 1.0)
    extent = width * ax
    return BlenderLens(
        resolution_x=width,
        resolution_y=height,
        pixel_aspect_x=ax,
        pixel_aspect_y=ay,
        lens=fx * ax * sensor_width / extent,
        sensor_fit="HORIZONTAL",
        sensor_width=sensor_width,
        shift_x=(width / 2 - float(K[0, 2])) * ax / extent,
        shift_y=(float(K[1, 2]) - height / 2) * ay / extent,
    )


def project(points: F64, viewmat: F64, K: F64, camera_model: CameraModel = "pinhole") -> tuple[F64, F64]:
    """World points [N, 3] -> pixel positions [N, 2] (y down, corner at 0) and depths [N] along the view axis."""
    cam = points @ viewmat[:3, :3].T + viewmat[:3, 3]
    z = cam[:, 2]
    plane = cam[:, :2] / z[:, None] if camera_model == "pinhole" else cam[:, :2]
    return plane @ K[:2, :2].T + K[:2, 2], z
