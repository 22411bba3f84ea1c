# SPDX-License-Identifier: GPL-3.0-or-later
"""The image by definition: slow, clear, in double precision. Every other backend is tested against it.

Written from the formulas (EWA splatting, Zwicker et al. 2001; 3DGS, Kerbl et al. 2023; Mip-Splatting, Yu et al. 2024 for
"antialiased") and the limits in ``constants``; it shares no code with the fast backends beyond the prepared scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..splats.ellipsoids import UPPER
from . import constants
from .frame import Backend, Frame, RasterizeMode
from .prepared import PreparedScene
from .view import View

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Splats:
    """The V Gaussians that a view sees, nearest first.

    Attributes:
        slots: [V] which Gaussian.
        means: [V, 2] pixels.
        conics: [V, 2, 2] inverse covariances on the image.
        opacities: [V]; depths: [V]; colours: [V, 3].
    """

    slots: NDArray[np.int64]
    means: F64
    conics: F64
    opacities: F64
    depths: F64
    colours: F64


@dataclass(frozen=True, eq=False)
class ViewSums:
    """One view's sums over its pixels, [N] each; the fields of ``BlendStatistics`` without ``_sum``."""

    weight: F64
    weight_max: F64
    hits: F64
    transmittance: F64
    weight_transmittance: F64
    blur: F64


def render(scene: PreparedScene, view: View, mode: RasterizeMode, threads: int | None = None) -> Frame:
    """One view; ``threads`` is ignored."""
    return blend(scene, view, mode)[0]


def blend(scene: PreparedScene, view: View, mode: RasterizeMode) -> tuple[Frame, ViewSums]:
    """One view and what it says about each Gaussian."""
    splats = project(scene, view, mode)
    x = np.arange(view.width) + 0.5
    y = np.arange(view.height)[:, None] + 0.5
    transmittance = np.ones((view.height, view.width))
    open_pixels = np.ones((view.height, view.width), bool)
    rgb = np.zeros((view.height, view.width, 3))
    depth = np.zeros((view.height, view.width))
    sums = ViewSums(*(np.zeros(len(scene)) for _ in range(6)))
    area = pixel_area(splats.depths, view)
    for i, slot in enumerate(splats.slots):
        dx, dy = x - splats.means[i, 0], y - splats.means[i, 1]
        (a, b), (_, c) = splats.conics[i]
        alpha = np.minimum(splats.opacities[i] * np.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy), constants.ALPHA_MAX)
        hit = open_pixels & (alpha >= constants.ALPHA_MIN)
        full = hit & (transmittance * (1 - alpha) <= constants.TRANSMITTANCE_STOP)
        open_pixels &= ~full
        hit &= ~full
        if not hit.any():
            continue
        before = transmittance[hit]
        weight = alpha[hit] * before
        rgb[hit] += weight[:, None] * splats.colours[i]
        depth[hit] += weight * splats.depths[i]
        transmittance[hit] = before * (1 - alpha[hit])
        sums.weight[slot] = weight.sum()
        sums.weight_max[slot] = weight.max()
        sums.hits[slot] = hit.sum()
        sums.transmittance[slot] = before.sum()
        sums.weight_transmittance[slot] = (weight * before).sum()
        sums.blur[slot] = weight.sum() * area[i]
    covered = 1 - transmittance
    depth /= np.maximum(covered, constants.ALPHA_EPS)
    frame = Frame(rgb.astype(np.float32), covered.astype(np.float32), depth.astype(np.float32), Backend("reference", "numpy"))
    return frame, sums


def project(scene: PreparedScene, view: View, mode: RasterizeMode) -> Splats:
    """Gaussians in front of the camera as 2D Gaussians on its image, nearest first; equal depths stay in order."""
    rotation = view.viewmat[:3, :3]
    centres = scene.means @ rotation.T + view.viewmat[:3, 3]
    slots = np.flatnonzero((centres[:, 2] >= view.near) & (centres[:, 2] <= view.far))
    slots = slots[np.argsort(centres[slots, 2].astype(np.float32), kind="stable")]
    centres = centres[slots]
    means, jacobians = _orthographic(centres, view) if view.ortho else _perspective(centres, view)
    covars = np.zeros((len(slots), 3, 3))
    for value, (i, j) in enumerate(UPPER):
        covars[:, i, j] = covars[:, j, i] = scene.covars[slots, value]
    to_image = jacobians @ rotation
    sharp = to_image @ covars @ to_image.transpose(0, 2, 1)
    blurred = sharp + constants.EPS2D * np.eye(2)
    opacities = scene.opacities[slots].astype(np.float64)
    with np.errstate(all="ignore"):
        if mode == "antialiased":
            opacities *= np.sqrt(np.maximum(_det(sharp) / _det(blurred), 0))
        usable = (_det(blurred) > 0) & np.isfinite(blurred).all(axis=(1, 2)) & np.isfinite(means).all(axis=1)
        usable &= opacities >= constants.ALPHA_MIN
    return Splats(
        slots=slots[usable],
        means=means[usable],
        conics=np.linalg.inv(blurred[usable]),
        opacities=opacities[usable],
        depths=centres[usable, 2],
        colours=colours(scene, view)[slots[usable]],
    )


def pixel_area(depths: F64, view: View) -> F64:
    """[V] area of a pixel at each depth, in square world units: (z / f)^2, for an orthographic view 1 / f^2.

    A view matrix that scales by s shows lengths of the world times s; s^3 is its determinant.
    """
    depths = np.ones_like(depths) if view.ortho else depths
    scale = float(np.linalg.det(view.viewmat[:3, :3])) ** (1 / 3)
    return depths**2 / (view.K[0, 0] * view.K[1, 1] * scale**2)


def _det(matrices: F64) -> F64:
    return matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0]


def _perspective(centres: F64, view: View) -> tuple[F64, F64]:
    """Pixel positions [V, 2] and the derivative of the projection [V, 2, 3], taken near the image at the farthest."""
    positions = np.zeros((len(centres), 2))
    jacobians = np.zeros((len(centres), 2, 3))
    z = centres[:, 2]
    for axis, size in ((0, view.width), (1, view.height)):
        f, c = view.K[axis, axis], view.K[axis, 2]
        slope = centres[:, axis] / z
        margin = constants.FRUSTUM_MARGIN * 0.5 * size / f
        limited = np.clip(slope, -c / f - margin, (size - c) / f + margin)
        positions[:, axis] = f * slope + c
        jacobians[:, axis, axis] = f / z
        jacobians[:, axis, 2] = -f * limited / z
    return positions, jacobians


def _orthographic(centres: F64, view: View) -> tuple[F64, F64]:
    scale = np.diag(view.K)[:2]
    jacobian = np.zeros((2, 3))
    jacobian[0, 0], jacobian[1, 1] = scale
    return centres[:, :2] * scale + view.K[:2, 2], np.tile(jacobian, (len(centres), 1, 1))


def colours(scene: PreparedScene, view: View) -> F64:
    """[N, 3] max(SH + 0.5, 0) along the ray to each Gaussian, in its object's space."""
    towards, offset = view.ray
    found = np.zeros((len(scene), 3))
    for part in scene.parts:
        rays = towards * scene.means[part.start : part.stop].astype(np.float64) + offset
        rays = rays @ part.object_from_world[:3, :3].T
        rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-30)
        sh = part.sh.astype(np.float64)
        basis = spherical_harmonics(math.isqrt(sh.shape[1]) - 1, rays)
        found[part.start : part.stop] = np.einsum("nk,nkc->nc", basis, sh) + 0.5
    return np.maximum(found, 0)


def spherical_harmonics(degree: int, directions: F64) -> F64:
    """Real spherical harmonics with the Condon-Shortley phase of unit directions [N, 3] -> [N, (degree + 1)^2].

    Order l (l + 1) + m. From the definition: the associated Legendre function of z, divided by sin(theta)^m, comes from the
    recurrence over l, and sin(theta)^m cos(m phi), sin(theta)^m sin(m phi) are the parts of (x + i y)^m.
    """
    x, y, z = directions.T
    basis = np.empty((len(directions), (degree + 1) ** 2))
    for m in range(degree + 1):
        around = (x + 1j * y) ** m
        lower, legendre = np.zeros_like(z), np.full_like(z, (-1.0) ** m * math.prod(range(1, 2 * m, 2)))
        for l in range(m, degree + 1):  # noqa: E741
            norm = math.sqrt((2 * l + 1) / (4 * math.pi) * math.factorial(l - m) / math.factorial(l + m))
            centre = l * (l + 1)
            basis[:, centre + m] = norm * legendre * around.real * (math.sqrt(2) if m else 1)
            if m:
                basis[:, centre - m] = norm * legendre * around.imag * math.sqrt(2)
            lower, legendre = legendre, ((2 * l + 1) * z * legendre - (l + m) * lower) / (l - m + 1)
    return basis
