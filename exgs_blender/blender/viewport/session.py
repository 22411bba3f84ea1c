# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that drawing keeps between frames: the clouds on the graphics card, the thread, the regions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import bpy
import gpu

from ...splats.gaussians import F32
from ..render_session import hidden_in
from . import painter
from .clouds import SceneClouds, Shown, Snapshot, packed
from .eye import Eye
from .ordering import Placed, view_order
from .pace import Pace
from .packing import Atlas, PackedCloud, pack_atlas
from .painter import AtlasTextures, OrderTexture
from .regions import Kind, Order, Region, Wanted, axes_of, eye_of
from .sorter import LatestTasks

SHADINGS = ("SOLID", "MATERIAL")
MOST_REGIONS = 12
KINDS: tuple[Kind, ...] = ("moving", "still")


class Viewport:
    """Draws the splats of 3D views.

    Args:
        wake: called when something is on its way, so that somebody asks for a redraw when it has come.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.clouds = SceneClouds()
        self.tasks = LatestTasks()
        self.pace = Pace()
        self.told = ""
        """What the panel says about the last frame."""
        self._packed: dict[str, PackedCloud] = {}
        self._atlas: AtlasTextures | None = None
        self._asked_keys: frozenset[str] = frozenset()
        self._asked_degree = -1
        self._regions: dict[int, Region] = {}

    def clear(self) -> None:
        """Forget all: another file, or the add-on goes."""
        self.tasks.close()
        for region in self._regions.values():
            region.canvas.free()
        self.__init__(self._wake)  # type: ignore[misc]

    def draw(self, context: bpy.types.Context) -> None:
        """Draw into the framebuffer that is bound: that of a region of a 3D view."""
        settings, space = context.scene.exgs.viewport, context.space_data
        if not settings.show or context.region_data is None or space.shading.type not in SHADINGS:
            return
        snapshot = self.clouds.snapshot(context.scene, context.view_layer, context.evaluated_depsgraph_get(), set(self._packed))
        self._update_atlas(settings.sh_degree)
        if not snapshot.shown and not self._regions:
            return
        pointer, region = context.region.as_pointer(), self._region(context.region)
        eye = eye_of(context, antialiased=context.scene.exgs.rasterize_mode == "antialiased")
        region.look(eye)
        hidden = hidden_in(space, {item.owner for item in snapshot.shown})
        shown = tuple(item for item in snapshot.shown if item.owner not in hidden)
        wanted = self._wanted(shown, eye, settings)
        self._update_orders(pointer, region, wanted, eye)
        order = region.best(wanted)
        self._tell(snapshot, wanted, order)
        if order is not None and order.texture.count:
            depth = _scene_depth(eye) if snapshot.occluders and not _see_through(space) else None
            self._paint(region, eye, order, shown, depth)

    @property
    def needs_redraw(self) -> bool:
        """Something that was on its way has come."""
        return self.tasks.has_results or any(region.comes_to_rest for region in self._regions.values())

    @property
    def waits(self) -> bool:
        """Something is on its way."""
        return self.tasks.busy or self.needs_redraw or any(region.moving for region in self._regions.values())

    def _paint(self, region: Region, eye: Eye, order: Order, shown: tuple[Shown, ...], depth: Any) -> None:
        started = time.perf_counter()
        same = [item.key for item in shown] == [item.key for item in order.made_of.shown]
        # Objects that move are drawn at their new places at once; other objects only with an order that has them.
        placed = shown if same else order.made_of.shown
        picture = painter.paint(
            region.canvas, order.made_of.atlas, order.texture, eye, [(item.key, item.world_from_object) for item in placed], depth
        )
        region.canvas.finish()
        self.pace.measured(order.texture.count, time.perf_counter() - started)
        painter.lay_over(picture)

    def _region(self, area_region: bpy.types.Region) -> Region:
        region = self._regions.setdefault(area_region.as_pointer(), Region())
        if len(self._regions) > MOST_REGIONS:
            oldest = min((key for key in self._regions if self._regions[key] is not region), key=lambda key: self._regions[key].used_at)
            self._regions.pop(oldest).canvas.free()
            for kind in KINDS:
                self.tasks.forget((kind, oldest))
        return region

    def _update_atlas(self, max_degree: int) -> None:
        """Have the clouds of the scene on the graphics card, or on their way there; let go of those that are gone."""
        found = self.tasks.take("atlas")
        if found is not None:
            self._packed, atlas = found
            self._atlas = AtlasTextures(atlas)
            self.clouds.drop(self._packed)
        wanted = frozenset(self.clouds.keys)
        missing = not wanted <= self._asked_keys or (max_degree != self._asked_degree and wanted)
        if not missing and (self.tasks.pending("atlas") or 2 * self._unused(wanted) <= sum(map(len, self._packed.values()))):
            return
        self._asked_keys, self._asked_degree = wanted, max_degree
        old = {key: cloud for key, cloud in self._packed.items() if key in wanted}
        fresh = {key: attributes for key, attributes in self.clouds.fresh.items() if key in wanted}
        self.tasks.submit("atlas", lambda: _made_atlas(old, fresh, max_degree))
        self._wake()

    def _unused(self, wanted: frozenset[str]) -> int:
        """Splats on the graphics card that no view layer has any more."""
        return sum(len(cloud) for key, cloud in self._packed.items() if key not in wanted)

    def _wanted(self, shown: tuple[Shown, ...], eye: Eye, settings: Any) -> dict[Kind, Wanted]:
        """The orders that this view should have; none while the atlas with its clouds is on its way."""
        atlas = self._atlas
        if atlas is None or any(item.key not in atlas.first_rows and item.key not in atlas.left_out for item in shown):
            return {}
        there = tuple(item for item in shown if item.key in atlas.first_rows)
        total = sum(len(self._packed[item.key]) for item in there)
        budgets: dict[Kind, int] = {"still": min(settings.budget, total)}
        if settings.fewer_while_moving and (quick := self.pace.budget(settings.budget)) < budgets["still"]:
            budgets["moving"] = quick
        return {kind: Wanted(atlas, there, axes_of(eye, all_fit=budget >= total), budget) for kind, budget in budgets.items()}

    def _update_orders(self, pointer: int, region: Region, wanted: dict[Kind, Wanted], eye: Eye) -> None:
        """Take orders that have come; ask for those that are missing, the one for this frame first."""
        for kind in KINDS:
            found = self.tasks.take((kind, pointer))
            if found is not None:
                made_of, slots = found
                region.orders[kind] = Order(OrderTexture(slots), made_of)
        if wanted and "moving" not in wanted:
            region.orders.pop("moving", None)
            region.asked.pop("moving", None)
        for kind in KINDS:
            if kind not in wanted or (kind == "still" and region.moving and "moving" in wanted):
                continue
            if not wanted[kind].same_as(region.asked.get(kind)):
                region.asked[kind] = wanted[kind]
                self._sort((kind, pointer), wanted[kind], eye)
        if region.moving and "moving" in wanted:
            self._wake()  # all of them once the view is still

    def _sort(self, name: tuple[Kind, int], wanted: Wanted, eye: Eye) -> None:
        placed = [Placed(self._packed[i.key].means, self._packed[i.key].significance, i.world_from_object) for i in wanted.shown]
        clip_from_world, budget = eye.clip_from_world, wanted.budget
        self.tasks.submit(name, lambda: (wanted, view_order(placed, clip_from_world, budget)))
        self._wake()

    def _tell(self, snapshot: Snapshot, wanted: dict[Kind, Wanted], order: Order | None) -> None:
        self.told = snapshot.problem
        if not self.told and "still" in wanted and order is not None:
            total = sum(len(self._packed[item.key]) for item in wanted["still"].shown)
            self.told = f"{order.texture.count:,} of {total:,} splats"
            if self._atlas is not None and self._atlas.left_out:
                self.told += "; too many for the graphics card"


def _made_atlas(old: dict[str, PackedCloud], fresh: dict[str, dict[str, F32]], degree: int) -> tuple[dict[str, PackedCloud], Atlas]:
    clouds = {**old, **{key: packed(attributes) for key, attributes in fresh.items()}}
    return clouds, pack_atlas(clouds, degree)


def _see_through(space: bpy.types.SpaceView3D) -> bool:
    return space.shading.type == "SOLID" and space.shading.show_xray and space.shading.xray_alpha < 1


def _scene_depth(eye: Eye) -> Any:
    """The depth that the scene has drawn in this region, as a texture."""
    found = gpu.state.active_framebuffer_get().read_depth(0, 0, eye.width, eye.height)
    found.dimensions = eye.width * eye.height
    return gpu.types.GPUTexture((eye.width, eye.height), format="R32F", data=found)
