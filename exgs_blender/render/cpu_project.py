# SPDX-License-Identifier: GPL-3.0-or-later
"""Numba kernels that turn Gaussians into splats on the image: EWA projection and colour.

A splat is a row of 16 float32 (one cache line), see the constants below. Its exponent is kept as the sum of two
squares, the Cholesky form of the conic, to the base 256, so that it lies within -1..0 where alpha reaches 1/255:

    alpha(x, y) = 256^(LOG_OPACITY - u^2 - v^2),  u = UX (x - X) + UY (y - Y),  v = VY (y - Y)

which cannot go negative by rounding and leaves two multiplications for each pixel of a row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from . import constants

X, Y, UX, UY, VY, LOG_OPACITY, RED, GREEN, BLUE, DEPTH, EXTENT_X, EXTENT_Y, LEAN, FLAT, PER_EXTENT_X = range(15)
"""Columns of a splat: centre in pixels; the Cholesky form; logarithm of the opacity to the base 256; colour; depth along the view axis;
half width and half height of the ellipse where alpha reaches ALPHA_MIN; correlation r of x and y, sqrt(1 - r^2); 1 / EXTENT_X."""
SPLAT_WIDTH = 16

CHUNK = 4096
"""Gaussians that one task projects."""

HALF_LOG256E = 0.5 / math.log(256.0)
ALPHA_MIN = constants.ALPHA_MIN
EPS2D = constants.EPS2D
MARGIN = constants.FRUSTUM_MARGIN
EXTENT_MAX = constants.EXTENT_MAX

# Numba's cache on disk notices changes of a kernel's own file only: after a change in `constants` or of the columns above,
# touch the other cpu_*.py files too.
JIT: dict[str, Any] = {"cache": True, "error_model": "numpy", "boundscheck": False, "nogil": True}
FAST = {"contract", "nsz", "arcp"}


@njit(parallel=True, fastmath=FAST, **JIT)
def project(means, covars, opacities, viewmat, K, size, clip, ortho, antialiased, splats, keys, slots, counts):  # type: ignore[no-untyped-def]
    """Fill ``splats`` [N, 16], black, for the Gaussians that the view can see.

    Within each chunk of CHUNK the visible ones move to the front: ``keys`` gets their depth, ``slots`` the Gaussian's
    number, ``counts`` [chunks] how many there are.
    """
    count = means.shape[0]
    width = float(size[0])
    height = float(size[1])
    fx = K[0, 0]
    fy = K[1, 1]
    cx = K[0, 2]
    cy = K[1, 2]
    tan_x = 0.5 * width / fx * MARGIN
    tan_y = 0.5 * height / fy * MARGIN
    for chunk in prange(counts.shape[0]):
        filled = chunk * CHUNK
        for i in range(chunk * CHUNK, min(chunk * CHUNK + CHUNK, count)):
            mx = means[i, 0]
            my = means[i, 1]
            mz = means[i, 2]
            z = viewmat[2, 0] * mx + viewmat[2, 1] * my + viewmat[2, 2] * mz + viewmat[2, 3]
            if not (z >= clip[0] and z <= clip[1]):
                continue
            x = viewmat[0, 0] * mx + viewmat[0, 1] * my + viewmat[0, 2] * mz + viewmat[0, 3]
            y = viewmat[1, 0] * mx + viewmat[1, 1] * my + viewmat[1, 2] * mz + viewmat[1, 3]
            if ortho:
                px = fx * x + cx
                py = fy * y + cy
                jx = fx
                jy = fy
                jxz = 0.0
                jyz = 0.0
            else:
                rz = 1.0 / z
                px = fx * x * rz + cx
                py = fy * y * rz + cy
                jx = fx * rz
                jy = fy * rz
                jxz = -jx * min((width - cx) / fx + tan_x, max(-(cx / fx + tan_x), x * rz))
                jyz = -jy * min((height - cy) / fy + tan_y, max(-(cy / fy + tan_y), y * rz))
            # M = J W [2, 3], covariance on the image M C M'
            m00 = jx * viewmat[0, 0] + jxz * viewmat[2, 0]
            m01 = jx * viewmat[0, 1] + jxz * viewmat[2, 1]
            m02 = jx * viewmat[0, 2] + jxz * viewmat[2, 2]
            m10 = jy * viewmat[1, 0] + jyz * viewmat[2, 0]
            m11 = jy * viewmat[1, 1] + jyz * viewmat[2, 1]
            m12 = jy * viewmat[1, 2] + jyz * viewmat[2, 2]
            c00 = covars[i, 0]
            c01 = covars[i, 1]
            c02 = covars[i, 2]
            c11 = covars[i, 3]
            c12 = covars[i, 4]
            c22 = covars[i, 5]
            t0 = c00 * m00 + c01 * m01 + c02 * m02
            t1 = c01 * m00 + c11 * m01 + c12 * m02
            t2 = c02 * m00 + c12 * m01 + c22 * m02
            a = m00 * t0 + m01 * t1 + m02 * t2
            b = m10 * t0 + m11 * t1 + m12 * t2
            c = (
                m10 * (c00 * m10 + c01 * m11 + c02 * m12)
                + m11 * (c01 * m10 + c11 * m11 + c12 * m12)
                + m12 * (c02 * m10 + c12 * m11 + c22 * m12)
            )
            sharp = a * c - b * b
            a += EPS2D
            c += EPS2D
            det = a * c - b * b
            if not (det > 0.0 and det < math.inf):
                continue
            opacity = opacities[i] * 1.0
            if antialiased:
                opacity *= math.sqrt(max(0.0, sharp / det))
            if not opacity >= ALPHA_MIN:
                continue
            extent = min(EXTENT_MAX, math.sqrt(2.0 * math.log(opacity / ALPHA_MIN)))
            ex = extent * math.sqrt(a)
            ey = extent * math.sqrt(c)
            if not (px + ex > 0.0 and px - ex < width and py + ey > 0.0 and py - ey < height):
                continue
            ux = math.sqrt(HALF_LOG256E * c / det)
            splats[i, X] = px
            splats[i, Y] = py
            splats[i, UX] = ux
            splats[i, UY] = -ux * b / c
            splats[i, VY] = math.sqrt(HALF_LOG256E / c)
            splats[i, LOG_OPACITY] = math.log(opacity) / math.log(256.0)
            splats[i, RED] = 0.0
            splats[i, GREEN] = 0.0
            splats[i, BLUE] = 0.0
            splats[i, DEPTH] = z
            splats[i, EXTENT_X] = ex
            splats[i, EXTENT_Y] = ey
            splats[i, LEAN] = b / math.sqrt(a * c)
            splats[i, FLAT] = math.sqrt(det / (a * c))
            splats[i, PER_EXTENT_X] = 1.0 / ex
            keys[filled] = z
            slots[filled] = i
            filled += 1
        counts[chunk] = filled - chunk * CHUNK


@njit(parallel=True, fastmath=FAST, **JIT)
def colour(means, sh0, shN, start, linear, towards, offset, visible, splats):  # type: ignore[no-untyped-def]
    """max(SH + 0.5, 0) along linear @ (towards * mean + offset), for the Gaussians ``visible`` of one object.

    ``sh0`` [n, 1, 3] and ``shN`` [n, K-1, 3] belong to the Gaussians from ``start`` on; ``linear`` [3, 3] leads into the object's space.
    """
    bases = 1 + shN.shape[1]
    for chunk in prange((visible.shape[0] + CHUNK - 1) // CHUNK):
        basis = np.empty(25, np.float32)
        for v in range(chunk * CHUNK, min(chunk * CHUNK + CHUNK, visible.shape[0])):
            i = visible[v]
            wx = towards * means[i, 0] + offset[0]
            wy = towards * means[i, 1] + offset[1]
            wz = towards * means[i, 2] + offset[2]
            x = linear[0, 0] * wx + linear[0, 1] * wy + linear[0, 2] * wz
            y = linear[1, 0] * wx + linear[1, 1] * wy + linear[1, 2] * wz
            z = linear[2, 0] * wx + linear[2, 1] * wy + linear[2, 2] * wz
            norm = 1.0 / max(math.sqrt(x * x + y * y + z * z), 1e-30)
            fill_basis(basis, bases, np.float32(x * norm), np.float32(y * norm), np.float32(z * norm))
            red = np.float32(0.5) + basis[0] * sh0[i - start, 0, 0]
            green = np.float32(0.5) + basis[0] * sh0[i - start, 0, 1]
            blue = np.float32(0.5) + basis[0] * sh0[i - start, 0, 2]
            for k in range(1, bases):
                red += basis[k] * shN[i - start, k - 1, 0]
                green += basis[k] * shN[i - start, k - 1, 1]
                blue += basis[k] * shN[i - start, k - 1, 2]
            splats[i, RED] = max(red, np.float32(0.0))
            splats[i, GREEN] = max(green, np.float32(0.0))
            splats[i, BLUE] = max(blue, np.float32(0.0))


@njit(fastmath=FAST, inline="always", **JIT)
def fill_basis(basis, bases, x, y, z):  # type: ignore[no-untyped-def]
    """Real spherical harmonics of a unit direction up to degree 4, signs and order as gsplat's (Sloan 2013)."""
    basis[0] = 0.2820947917738781
    if bases > 1:
        basis[1] = -0.48860251190292 * y
        basis[2] = 0.48860251190292 * z
        basis[3] = -0.48860251190292 * x
    if bases > 4:
        zz = z * z
        c2 = x * x - y * y
        s2 = 2.0 * x * y
        basis[4] = 0.5462742152960395 * s2
        basis[5] = -1.092548430592079 * z * y
        basis[6] = 0.9461746957575601 * zz - 0.3153915652525201
        basis[7] = -1.092548430592079 * z * x
        basis[8] = 0.5462742152960395 * c2
        if bases > 9:
            c3 = x * c2 - y * s2
            s3 = x * s2 + y * c2
            first = -2.285228997322329 * zz + 0.4570457994644658
            basis[9] = -0.5900435899266435 * s3
            basis[10] = 1.445305721320277 * z * s2
            basis[11] = first * y
            basis[12] = z * (1.865881662950577 * zz - 1.119528997770346)
            basis[13] = first * x
            basis[14] = 1.445305721320277 * z * c2
            basis[15] = -0.5900435899266435 * c3
            if bases > 16:
                second = 3.31161143515146 * zz - 0.47308734787878
                third = z * (-4.683325804901025 * zz + 2.007139630671868)
                basis[16] = 0.6258357354491763 * (x * s3 + y * c3)
                basis[17] = -1.770130769779931 * z * s3
                basis[18] = second * s2
                basis[19] = third * y
                basis[20] = 1.984313483298443 * zz * (1.865881662950577 * zz - 1.119528997770346) - 1.006230589874905 * (
                    0.9461746957575601 * zz - 0.3153915652525201
                )
                basis[21] = third * x
                basis[22] = second * c2
                basis[23] = -1.770130769779931 * z * c3
                basis[24] = 0.6258357354491763 * (x * c3 - y * s3)
