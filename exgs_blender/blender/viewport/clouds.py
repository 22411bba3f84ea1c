# SPDX-License-Identifier: GPL-3.0-or-later
"""What the 3D view shows: the visible splat objects of a view layer, read again only when something changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ...errors import ExgsError
from ...splats.gaussians import F32
from ..content import CONTENT
from ..render_session import owner_of
from ..splat_object import BASE, POSITION, ROTATION, SCALE, SH_PREFIX, read_attributes, shown_instances, turned_attributes
from .packing import PackedCloud, pack_cloud

F64 = NDArray[np.float64]
OCCLUDERS = {"MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES", "POINTCLOUD", "VOLUME"}


@dataclass(frozen=True, eq=False)
class Shown:
    """One instance of a cloud.

    Attributes:
        key: of the cloud's content.
        world_from_object: [4, 4].
        owner: the original object that decides whether a 3D view shows it, by name.
    """

    key: str
    world_from_object: F64
    owner: str

    @property
    def place(self) -> tuple[str, bytes]:
        """To compare by: which cloud, and where."""
        return self.key, self.world_from_object.tobytes()


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A view layer at one moment.

    Attributes:
        shown: all instances that at least one 3D view may show.
        occluders: whether there is anything else that splats can hide behind.
        problem: why a cloud could not be read, else empty.
    """

    shown: tuple[Shown, ...]
    occluders: bool
    problem: str = ""


class SceneClouds:
    """Snapshots of view layers, and the attributes of clouds that are new."""

    def __init__(self) -> None:
        self._snapshots: dict[tuple[int, str], Snapshot] = {}
        self._stale: set[tuple[int, str]] = set()
        self.fresh: dict[str, dict[str, F32]] = {}
        """Attributes of clouds that are not packed yet, by key."""

    @property
    def keys(self) -> set[str]:
        """Of all clouds in all snapshots."""
        return {item.key for snapshot in self._snapshots.values() for item in snapshot.shown}

    def changed(self) -> None:
        """Something in a scene changed; ``CONTENT`` knows whether clouds did."""
        self._stale.update(self._snapshots)

    def clear(self) -> None:
        self._snapshots.clear()
        self._stale.clear()
        self.fresh.clear()

    def snapshot(
        self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, depsgraph: bpy.types.Depsgraph, known: set[str]
    ) -> Snapshot:
        """The view layer as it is now.

        Args:
            known: keys of clouds whose attributes are not wanted again.
        """
        name = (scene.session_uid, view_layer.name)
        if name not in self._snapshots or name in self._stale:
            self._snapshots[name] = self._read(depsgraph, known)
            self._stale.discard(name)
        return self._snapshots[name]

    def _read(self, depsgraph: bpy.types.Depsgraph, known: set[str]) -> Snapshot:
        shown: list[Shown] = []
        occluders, problem = False, ""
        for instance, splats in shown_instances(depsgraph):
            obj = instance.object
            if not splats:
                occluders |= obj.type in OCCLUDERS and obj.display_type in ("SOLID", "TEXTURED")
                continue
            try:
                key = self._key(instance, depsgraph, known)
            except ExgsError as error:
                problem = str(error)
                continue
            if len(obj.data.attributes[POSITION].data):
                shown.append(Shown(key, np.array(instance.matrix_world, np.float64), owner_of(instance)))
        return Snapshot(tuple(shown), occluders, problem)

    def _key(self, instance: bpy.types.DepsgraphObjectInstance, depsgraph: bpy.types.Depsgraph, known: set[str]) -> str:
        key, attributes = CONTENT.key(instance, depsgraph)
        if key not in known and key not in self.fresh:
            self.fresh[key] = turned_attributes(attributes or read_attributes(instance.object.data))
        return key

    def drop(self, keys: Iterable[str]) -> None:
        """Forget attributes that were taken, and those that no view layer has any more."""
        wanted = self.keys
        taken = set(keys)
        self.fresh = {key: attributes for key, attributes in self.fresh.items() if key in wanted and key not in taken}


def packed(attributes: dict[str, F32]) -> PackedCloud:
    """A cloud's attributes, ready for the textures."""
    rest = [values for name, values in attributes.items() if name.startswith(SH_PREFIX)]
    base = attributes[BASE]
    coefficients = np.stack([base[:, :3], *rest], axis=1)
    return pack_cloud(attributes[POSITION], attributes[ROTATION], attributes[SCALE], base[:, 3], coefficients)
