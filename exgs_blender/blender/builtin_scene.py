# SPDX-License-Identifier: GPL-3.0-or-later
"""The built-in scene: Suzanne on a tiled ground, lit by Cycles, one Gaussian per vertex.

Light, shadow and texture are baked into vertex colours, so the cloud looks like a capture of the render.
"""

from __future__ import annotations

import bpy
import numpy as np

from ..splats import Gaussians, concatenate
from ..splats.activation import log_from_scale, logit_from_opacity, sh0_from_rgb
from ..splats.srgb import srgb_from_linear

MONKEY_SUBDIVISIONS = 4
GROUND_SIDE = 280
GROUND_SIZE = 4.4
LIGHT_SAMPLES = 16
SMOOTHING_ROUNDS = 3
ATTRIBUTE = "baked"
CAPTURE_FROM_BLENDER = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
"""Blender's z-up -> the -y-up axes that captures have."""


def make_builtin_scene() -> Gaussians:
    """Build, bake, sample. About 195,000 Gaussians, SH degree 0."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.max_bounces = 2
    _light(scene)
    monkey, ground = _monkey(), _ground()
    return concatenate([_cloud_from_mesh(obj, _baked_colours(obj)) for obj in (monkey, ground)])


def _light(scene: bpy.types.Scene) -> None:
    world = bpy.data.worlds.new("sky")
    scene.world = world
    world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.55, 0.7, 1.0, 1.0)
    background.inputs["Strength"].default_value = 0.45
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy, sun.angle, sun.color = 3.2, 0.06, (1.0, 0.9, 0.75)
    sun_object = bpy.data.objects.new("sun", sun)
    sun_object.rotation_euler = (0.75, 0.25, 0.6)
    scene.collection.objects.link(sun_object)


def _monkey() -> bpy.types.Object:
    bpy.ops.mesh.primitive_monkey_add(size=2.4, rotation=(-0.62, 0, 0))
    monkey = bpy.context.object
    modifier = monkey.modifiers.new("smooth", "SUBSURF")
    modifier.levels = modifier.render_levels = MONKEY_SUBDIVISIONS
    bpy.ops.object.modifier_apply(modifier=modifier.name)
    bpy.ops.object.shade_smooth()
    bpy.context.view_layer.update()
    monkey.location.z -= min((monkey.matrix_world @ vertex.co).z for vertex in monkey.data.vertices)
    bpy.context.view_layer.update()
    material, nodes, shader = _material("glazed clay")
    noise, ramp = nodes.new("ShaderNodeTexNoise"), nodes.new("ShaderNodeValToRGB")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = 5.0, 8.0
    stops = ramp.color_ramp
    stops.elements[0].position, stops.elements[0].color = 0.40, (0.03, 0.16, 0.22, 1)
    stops.elements[1].position, stops.elements[1].color = 0.62, (0.85, 0.42, 0.12, 1)
    stops.elements.new(0.52).color = (0.55, 0.09, 0.05, 1)
    coordinates = nodes.new("ShaderNodeTexCoord")
    link = material.node_tree.links.new
    link(coordinates.outputs["Object"], noise.inputs["Vector"])
    link(noise.outputs["Fac" if "Fac" in noise.outputs else 0], ramp.inputs["Fac" if "Fac" in ramp.inputs else 0])
    link(ramp.outputs["Color"], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.45
    monkey.data.materials.append(material)
    return monkey


def _ground() -> bpy.types.Object:
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=GROUND_SIDE, y_subdivisions=GROUND_SIDE, size=GROUND_SIZE)
    ground = bpy.context.object
    material, nodes, shader = _material("tiles")
    checker = nodes.new("ShaderNodeTexChecker")
    checker.inputs["Scale"].default_value = 1.5
    checker.inputs["Color1"].default_value = (0.62, 0.58, 0.50, 1)
    checker.inputs["Color2"].default_value = (0.20, 0.25, 0.28, 1)
    coordinates = nodes.new("ShaderNodeTexCoord")
    link = material.node_tree.links.new
    link(coordinates.outputs["Object"], checker.inputs["Vector"])
    link(checker.outputs["Color"], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.9
    ground.data.materials.append(material)
    return ground


def _material(name: str) -> tuple[bpy.types.Material, bpy.types.Nodes, bpy.types.Node]:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = material.node_tree.nodes
    return material, nodes, next(node for node in nodes if node.type == "BSDF_PRINCIPLED")


def _baked_colours(obj: bpy.types.Object) -> np.ndarray:
    """[V, 3] scene-linear reflected light at the vertices.

    The texture is baked alone (one sample has no noise) and the light alone; the light's noise is
    averaged with the neighbours before both are multiplied, so a few samples are enough.
    """
    albedo = _bake(obj, {"COLOR"}, samples=1)
    light = _bake(obj, {"DIRECT", "INDIRECT"}, samples=LIGHT_SAMPLES)
    first, second = _edges(obj.data)
    neighbours = np.bincount(np.concatenate([first, second]), minlength=len(light))[:, None]
    for _ in range(SMOOTHING_ROUNDS):
        total = light.copy()
        np.add.at(total, first, light[second])
        np.add.at(total, second, light[first])
        light = total / (neighbours + 1)
    return albedo * light


def _bake(obj: bpy.types.Object, passes: set[str], samples: int) -> np.ndarray:
    """[V, 3] one Cycles bake into vertex colours."""
    mesh = obj.data
    attribute = mesh.color_attributes.get(ATTRIBUTE) or mesh.color_attributes.new(ATTRIBUTE, "FLOAT_COLOR", "POINT")
    mesh.color_attributes.active_color = attribute
    for other in bpy.context.view_layer.objects:
        other.select_set(other == obj)
    bpy.context.view_layer.objects.active = obj
    bpy.context.scene.cycles.samples = samples
    bpy.ops.object.bake(type="DIFFUSE", pass_filter=passes, target="VERTEX_COLORS")
    colours = np.empty(len(mesh.vertices) * 4, np.float32)
    mesh.color_attributes[ATTRIBUTE].data.foreach_get("color", colours)
    return colours.reshape(-1, 4)[:, :3]


def _cloud_from_mesh(obj: bpy.types.Object, linear: np.ndarray) -> Gaussians:
    """Flat Gaussians at the vertices, as wide as the edges there, coloured by the bake."""
    mesh = obj.data
    count = len(mesh.vertices)
    positions, normals = np.empty(count * 3, np.float32), np.empty(count * 3, np.float32)
    mesh.vertices.foreach_get("co", positions)
    mesh.vertices.foreach_get("normal", normals)
    world = np.array(obj.matrix_world)[:3]
    points = positions.reshape(-1, 3) @ world[:, :3].T + world[:, 3]
    directions = normals.reshape(-1, 3) @ np.linalg.inv(world[:, :3])
    width = _edge_lengths(mesh, points) * 0.6
    return Gaussians(
        means=points @ CAPTURE_FROM_BLENDER.T,
        quats=_quats_with_z_along(directions @ CAPTURE_FROM_BLENDER.T),
        scales=log_from_scale(np.stack([width, width, 0.15 * width], axis=1)),
        opacities=logit_from_opacity(np.full(count, 0.97, np.float32)),
        sh0=sh0_from_rgb(srgb_from_linear(np.clip(linear, 0.0, 1.0)))[:, None],
        shN=np.zeros((count, 0, 3), np.float32),
    )


def _edges(mesh: bpy.types.Mesh) -> tuple[np.ndarray, np.ndarray]:
    """First and second vertex of every edge."""
    ends = np.empty(len(mesh.edges) * 2, np.int32)
    mesh.edges.foreach_get("vertices", ends)
    first, second = ends.reshape(-1, 2).T
    return first, second


def _edge_lengths(mesh: bpy.types.Mesh, points: np.ndarray) -> np.ndarray:
    """[V] mean length of the edges at each vertex."""
    first, second = _edges(mesh)
    both = np.concatenate([first, second])
    lengths = np.linalg.norm(points[first] - points[second], axis=1)
    total = np.bincount(both, np.concatenate([lengths, lengths]), len(points))
    return total / np.maximum(np.bincount(both, minlength=len(points)), 1)


def _quats_with_z_along(directions: np.ndarray) -> np.ndarray:
    """[N, 4] wxyz rotations that turn +z to the directions [N, 3] (half-way construction)."""
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    quats = np.stack([1 + unit[:, 2], -unit[:, 1], unit[:, 0], np.zeros(len(unit))], axis=1)
    quats[quats[:, 0] < 1e-6] = (0, 1, 0, 0)
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)
