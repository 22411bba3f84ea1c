# SPDX-License-Identifier: GPL-3.0-or-later
"""Clouds placed in a world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .gaussians import Gaussians


def _identity() -> NDArray[np.float64]:
    return np.eye(4)


@dataclass(frozen=True, eq=False)
class SplatObject:
    """A cloud placed in the world by any affine matrix.

    Attributes:
        gaussians: in object space; SH is evaluated there, so it turns with the object.
        world_from_object: [4, 4].
    """

    gaussians: Gaussians
    world_from_object: NDArray[np.float64] = field(default_factory=_identity)


Scene = Gaussians | SplatObject | Sequence[SplatObject]
"""What the render calls accept: a bare cloud (identity transform), one object, or several sorted together."""


def objects_of(scene: Scene) -> tuple[SplatObject, ...]:
    """Any accepted scene as a tuple of objects."""
    if isinstance(scene, Gaussians):
        return (SplatObject(scene),)
    if isinstance(scene, SplatObject):
        return (scene,)
    return tuple(scene)
