# SPDX-License-Identifier: GPL-3.0-or-later
"""Make varied capture-like scenes for training GaussPainter: procedural Blender scenes, seen by rings of cameras.

Each scene becomes a folder with ``images/*.png`` (transparent film, view transform Standard), ``transforms.json``
(NeRF-Blender poses) and ``points.ply`` (points on the surfaces): what any 3DGS trainer takes. With ``--fit`` the given shell
command is run in each folder afterwards; it must leave ``point_cloud.ply`` there.

    python benchmarks/make_training_scenes.py OUT --first 0 --count 6 [--fit "my-trainer ..."]

Needs bpy. One seed, one scene: the same number always makes the same scene.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

WIDTH, HEIGHT = 288, 216
VIEWS = 40
SAMPLES = 12
POINTS = 12000
TEXTURES = (
    "ShaderNodeTexChecker",
    "ShaderNodeTexNoise",
    "ShaderNodeTexVoronoi",
    "ShaderNodeTexBrick",
    "ShaderNodeTexWave",
    "ShaderNodeTexMagic",
)
KINDS = ("objects", "room", "garden", "city", "statue", "shelf")


def material(rng: np.random.Generator, scale: float) -> bpy.types.Material:
    """A principled material whose colour is one procedural texture through a random colour ramp."""
    made = bpy.data.materials.new("made")
    made.use_nodes = True
    nodes, links = made.node_tree.nodes, made.node_tree.links
    surface = nodes["Principled BSDF"]
    surface.inputs["Roughness"].default_value = rng.uniform(0.25, 1.0)
    surface.inputs["Metallic"].default_value = float(rng.random() < 0.15) * rng.uniform(0.3, 0.9)
    texture = nodes.new(TEXTURES[rng.integers(len(TEXTURES))])
    if "Scale" in texture.inputs:
        texture.inputs["Scale"].default_value = scale * rng.uniform(1.5, 9.0)
    ramp = nodes.new("ShaderNodeValToRGB").color_ramp
    for position in np.sort(rng.uniform(0.1, 0.9, rng.integers(1, 4))):
        ramp.elements.new(float(position))
    hue = rng.random(3)
    for element in ramp.elements:
        near = hue + rng.normal(0, 0.25, 3)
        element.color = (*np.clip(near * rng.uniform(0.2, 1.1), 0.01, 1.0), 1.0)
    coordinates = nodes.new("ShaderNodeTexCoord")
    links.new(coordinates.outputs["Object"], texture.inputs["Vector"])
    links.new(texture.outputs[0], nodes["Color Ramp"].inputs[0])
    links.new(nodes["Color Ramp"].outputs[0], surface.inputs["Base Color"])
    return made


def solid(rng: np.random.Generator, at: tuple[float, float, float], size: float, choice: int | None = None) -> bpy.types.Object:
    """One primitive with a material, turned at random about z, sometimes displaced or bevelled; it stands on ``at``."""
    mesh = bpy.ops.mesh
    makers = (
        lambda: mesh.primitive_cube_add(size=1.4),
        lambda: mesh.primitive_uv_sphere_add(radius=0.8, segments=48, ring_count=24),
        lambda: mesh.primitive_torus_add(major_radius=0.7, minor_radius=0.25),
        lambda: mesh.primitive_cylinder_add(radius=0.6, depth=1.5),
        lambda: mesh.primitive_cone_add(radius1=0.8, depth=1.7),
        lambda: mesh.primitive_monkey_add(size=1.6),
        lambda: mesh.primitive_ico_sphere_add(radius=0.8, subdivisions=5),
    )
    kind = int(rng.integers(len(makers))) if choice is None else choice
    makers[kind]()
    made = bpy.context.object
    stretch = rng.uniform(0.7, 1.4, 3)
    made.scale = size * stretch
    made.rotation_euler = (0, 0, rng.uniform(0, 2 * math.pi))
    made.location = (at[0], at[1], at[2] + 0.75 * size * stretch[2])
    if kind == 6 or rng.random() < 0.15:
        noise = bpy.data.textures.new("relief", "CLOUDS")
        noise.noise_scale = rng.uniform(0.15, 0.5)
        relief = made.modifiers.new("relief", "DISPLACE")
        relief.texture, relief.strength = noise, rng.uniform(0.2, 0.5)
    if kind == 5:
        made.modifiers.new("smooth", "SUBSURF").render_levels = 2
    made.data.materials.append(material(rng, 1.0))
    return made


def slab(rng: np.random.Generator, centre: tuple[float, float, float], size: tuple[float, float, float]) -> None:
    """An axis-aligned box: a floor, a wall, a board."""
    bpy.ops.mesh.primitive_cube_add(size=1.0)
    made = bpy.context.object
    made.location, made.scale = centre, size
    made.data.materials.append(material(rng, 1.0 / max(size) * 3))


def build(rng: np.random.Generator, kind: str) -> None:
    """The meshes of one scene, within about 2.5 units of the origin."""
    if kind != "statue" or rng.random() < 0.5:
        slab(rng, (0, 0, -0.1), (5.0, 5.0, 0.2))
    if kind == "room":
        slab(rng, (0, 2.5, 1.2), (5.0, 0.15, 2.6))
        slab(rng, (-2.5, 0, 1.2), (0.15, 5.0, 2.6))
    if kind == "shelf":
        slab(rng, (0, 0.7, 1.3), (3.4, 0.1, 2.8))
        for level in (0.0, 0.9, 1.8):
            slab(rng, (0, 0.3, level + 0.02), (3.4, 0.8, 0.06))
            for x in np.arange(-1.4, 1.5, 0.55):
                solid(rng, (float(x), 0.25, level + 0.05), rng.uniform(0.25, 0.4))
        return
    if kind == "city":
        for x in np.arange(-2, 2.1, 1.0):
            for y in np.arange(-2, 2.1, 1.0):
                height = float(rng.uniform(0.3, 2.0))
                slab(rng, (float(x), float(y), height / 2), (0.6, 0.6, height))
        return
    if kind == "statue":
        solid(rng, (0, 0, 0), 1.5, int(rng.choice([5, 6, 2, 5])))
        return
    count = 14 if kind == "garden" else 8
    for _ in range(count):
        x, y = rng.uniform(-1.9, 1.9, 2)
        solid(rng, (float(x), float(y), 0.0), rng.uniform(0.3, 0.85), 4 if kind == "garden" and rng.random() < 0.5 else None)


def light(rng: np.random.Generator) -> None:
    """A sun and a soft sky of random strengths and tints."""
    bpy.ops.object.light_add(type="SUN", rotation=(rng.uniform(0.2, 1.0), rng.uniform(-0.5, 0.5), rng.uniform(0, 6.3)))
    sun = bpy.context.object.data
    sun.energy, sun.angle = rng.uniform(1.5, 4.0), rng.uniform(0.02, 0.4)
    sun.color = np.clip(1 + rng.normal(0, 0.08, 3), 0.7, 1.0)
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs[0].default_value = (*np.clip(rng.uniform(0.5, 1.0, 3), 0, 1), 1.0)
    background.inputs[1].default_value = rng.uniform(0.3, 1.0)
    bpy.context.scene.world = world


def poses(rng: np.random.Generator, kind: str) -> list[Matrix]:
    """Cameras on rings; for scenes with walls only on the open side."""
    made = []
    arc = (-0.35, 0.35 + math.pi / 2 + 0.35) if kind == "room" else (math.pi * 1.1, math.pi * 1.9) if kind == "shelf" else (0, 2 * math.pi)
    for i in range(VIEWS):
        angle = arc[0] + (arc[1] - arc[0]) * ((i * 0.618034) % 1.0)
        angle = angle - math.pi / 2 if kind == "room" else angle
        elevation = math.radians((8, 22, 38, 58)[i % 4] + rng.uniform(-4, 4))
        distance = rng.uniform(4.2, 6.2)
        eye = distance * Vector((math.cos(angle) * math.cos(elevation), math.sin(angle) * math.cos(elevation), math.sin(elevation)))
        target = Vector((*rng.uniform(-0.5, 0.5, 2), rng.uniform(0.3, 0.9)))
        turn = (target - (eye + target * 0.3)).to_track_quat("-Z", "Y")
        made.append(Matrix.Translation(eye + target * 0.3) @ turn.to_matrix().to_4x4())
    return made


def surface_points(rng: np.random.Generator) -> np.ndarray:
    """[POINTS, 3] uniform over the area of all evaluated meshes."""
    triangles = []
    graph = bpy.context.evaluated_depsgraph_get()
    for item in bpy.context.scene.objects:
        if item.type != "MESH":
            continue
        mesh = item.evaluated_get(graph).to_mesh()
        mesh.calc_loop_triangles()
        where = np.array([item.matrix_world @ v.co for v in mesh.vertices])
        triangles.append(where[np.array([t.vertices[:] for t in mesh.loop_triangles])])
    t = np.concatenate(triangles)
    area = np.linalg.norm(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]), axis=1)
    t = t[rng.choice(len(t), POINTS, p=area / area.sum())]
    a, b = np.sqrt(rng.random((POINTS, 1))), rng.random((POINTS, 1))
    return np.asarray((1 - a) * t[:, 0] + a * (1 - b) * t[:, 1] + a * b * t[:, 2])


def write_points(path: Path, points: np.ndarray) -> None:
    rows = np.zeros(len(points), np.dtype([(n, "<f4") for n in "xyz"] + [(n, "u1") for n in ("red", "green", "blue")]))
    for i, name in enumerate("xyz"):
        rows[name] = points[:, i]
    for name in ("red", "green", "blue"):
        rows[name] = 128
    kinds = {"f": "float", "u": "uchar"}
    fields = "".join(f"property {kinds[rows.dtype[n].kind]} {n}\n" for n in rows.dtype.names or ())
    path.write_bytes(f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{fields}end_header\n".encode() + rows.tobytes())


def render_settings() -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = SAMPLES
    scene.cycles.max_bounces = 3
    scene.cycles.use_denoising = True
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.use_persistent_data = True


def make(folder: Path, number: int) -> None:
    """Build, render and describe scene ``number``."""
    rng = np.random.default_rng(1000 + number)
    kind = KINDS[number % len(KINDS)]
    bpy.ops.wm.read_factory_settings(use_empty=True)
    build(rng, kind)
    light(rng)
    render_settings()
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.lens = 36.0
    scene.collection.objects.link(camera)
    scene.camera = camera
    (folder / "images").mkdir(parents=True, exist_ok=True)
    frames = []
    for i, pose in enumerate(poses(rng, kind)):
        camera.matrix_world = pose
        scene.render.filepath = str(folder / "images" / f"{i:03d}.png")
        bpy.ops.render.render(write_still=True)
        frames.append({"file_path": f"images/{i:03d}.png", "transform_matrix": [list(row) for row in pose]})
    write_points(folder / "points.ply", surface_points(rng))
    lens = {"camera_angle_x": camera.data.angle_x, "w": WIDTH, "h": HEIGHT, "ply_file_path": "points.ply"}
    (folder / "transforms.json").write_text(json.dumps({**lens, "kind": kind, "frames": frames}, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--fit", default="", help="shell command that turns a scene folder into point_cloud.ply")
    args = parser.parse_args()
    for number in range(args.first, args.first + args.count):
        folder = args.out / f"made-{number:02d}"
        if not (folder / "transforms.json").exists():
            make(folder, number)
        if args.fit and not (folder / "point_cloud.ply").exists():
            subprocess.run(args.fit, shell=True, cwd=folder, check=True)
        print(f"{folder}: done", flush=True)


if __name__ == "__main__":
    main()
