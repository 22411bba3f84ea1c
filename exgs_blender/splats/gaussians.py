# SPDX-License-Identifier: GPL-3.0-or-later
"""The data: a cloud of 3D Gaussians with the raw values that a 3DGS PLY holds, under gsplat's names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError

F32 = NDArray[np.float32]

MAX_SH_DEGREE = 4
SH_COEFFICIENTS = tuple((degree + 1) ** 2 for degree in range(MAX_SH_DEGREE + 1))


@dataclass(frozen=True, eq=False)
class Gaussians:
    """N raw (not activated) 3D Gaussians; ``splats.activation`` makes what a rasterizer wants.

    Attributes:
        means: [N, 3] centres, in the capture's units.
        quats: [N, 4] rotation wxyz; need not be unit length, must not be zero.
        scales: [N, 3] natural logarithm of the standard deviations.
        opacities: [N] logit of the opacity.
        sh0: [N, 1, 3] spherical-harmonics coefficient of degree 0, RGB.
        shN: [N, K-1, 3] the coefficients of the degrees above, K = (sh_degree + 1)^2.

    Raises:
        ExgsError: on construction, where a shape does not fit; names the field and what was expected.
    """

    means: F32
    quats: F32
    scales: F32
    opacities: F32
    sh0: F32
    shN: F32

    def __post_init__(self) -> None:
        for field in fields(self):
            array = np.ascontiguousarray(getattr(self, field.name), dtype=np.float32)
            object.__setattr__(self, field.name, array)
        count = self.means.shape[0] if self.means.ndim else 0
        expected = {
            "means": (count, 3),
            "quats": (count, 4),
            "scales": (count, 3),
            "opacities": (count,),
            "sh0": (count, 1, 3),
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ExgsError(f"Gaussians: field '{name}' has shape {list(found)}, expected {list(shape)}")
        shape = self.shN.shape
        if self.shN.ndim != 3 or shape[0] != count or shape[2] != 3 or shape[1] + 1 not in SH_COEFFICIENTS:
            allowed = ", ".join(str(k - 1) for k in SH_COEFFICIENTS)
            raise ExgsError(f"Gaussians: field 'shN' has shape {list(shape)}, expected [{count}, K-1, 3] with K-1 one of {allowed}")

    def __len__(self) -> int:
        return int(self.means.shape[0])

    @property
    def sh_degree(self) -> int:
        """0 to 4."""
        return SH_COEFFICIENTS.index(self.shN.shape[1] + 1)

    @property
    def ply_bytes(self) -> int:
        """Bytes of the float values of this cloud in a PLY: 14 + 3 (K - 1) floats each.

        This is the "full size" that every compression ratio in this project refers to. The three normals that
        INRIA's files carry are always zero, so counting them would only flatter the ratio.
        """
        return len(self) * 4 * (14 + 3 * self.shN.shape[1])

    def arrays(self) -> Iterator[tuple[str, F32]]:
        """(name, array) pairs in declaration order."""
        for field in fields(self):
            yield field.name, getattr(self, field.name)

    def select(self, index: NDArray[np.bool_] | NDArray[np.integer[Any]] | slice) -> Gaussians:
        """The Gaussians that a boolean mask [N], an index array [M] or a slice picks, in its order."""
        return Gaussians(**{name: array[index] for name, array in self.arrays()})

    def with_sh_degree(self, degree: int) -> Gaussians:
        """Drop SH bands above ``degree``, or pad with zeros up to it."""
        rest = SH_COEFFICIENTS[degree] - 1
        kept = self.shN[:, :rest]
        padding = np.zeros((len(self), rest - kept.shape[1], 3), np.float32)
        return replace(self, shN=np.concatenate([kept, padding], axis=1))

    def nonfinite_field(self) -> tuple[str, int] | None:
        """(field, first bad Gaussian) where a value is NaN or infinite, else None.

        Infinite opacity logits are legal in captures (opacity exactly 0 or 1); readers clip them first.
        """
        for name, array in self.arrays():
            flat = array.reshape(-1)
            if np.isfinite(np.dot(flat, flat)):  # one pass without a temporary; only finite values have a finite sum
                continue
            bad = ~np.isfinite(array.reshape(len(self), int(np.prod(array.shape[1:])))).all(axis=1)
            if bad.any():
                return name, int(np.argmax(bad))
        return None


def unfilled(count: int, sh_degree: int) -> Gaussians:
    """A cloud of arrays that nobody has written to yet, for a reader that fills them piece by piece."""
    shapes = ((3,), (4,), (3,), (), (1, 3), (SH_COEFFICIENTS[sh_degree] - 1, 3))
    return Gaussians(*(np.empty((count, *shape), np.float32) for shape in shapes))


def concatenate(clouds: Sequence[Gaussians]) -> Gaussians:
    """One cloud of all; lower SH degrees are padded with zeros to the highest."""
    if not clouds:
        raise ExgsError("Gaussians: nothing to concatenate")
    degree = max(cloud.sh_degree for cloud in clouds)
    same = [cloud.with_sh_degree(degree) for cloud in clouds]
    return Gaussians(**{f.name: np.concatenate([getattr(c, f.name) for c in same]) for f in fields(Gaussians)})
