# SPDX-License-Identifier: GPL-3.0-or-later
"""The compositor's nodes. The difference between Blender 4.x and 5.x lives in this file and nowhere else.

What is made: one Render Layers node for the splat scene and one group node that merges it with whatever was
connected to the scene's output before::

    CG (as it was) ---------> [ ExGS Depth Merge ] ---> output
    CG depth ------------------^  ^  ^
    splats, splat depth ----------+--+

The group tests ``splat depth < CG depth`` a pixel. In front, the splats go over the CG; behind, the CG goes over
the splats, which matters only where the CG is transparent. Z Combine is not used: it multiplies premultiplied
splats by their alpha once more.
"""

from __future__ import annotations

from typing import Any

import bpy

GROUP_NAME = "ExGS Depth Merge"
MERGE_NODE = "ExGS Merge"
LAYER_NODE = "ExGS Splats"
CG_LAYER_NODE = "ExGS CG Depth"

FIVE = bpy.app.version >= (5, 0, 0)
MATH_NODE = "ShaderNodeMath" if FIVE else "CompositorNodeMath"
OUTPUT_NODE = "NodeGroupOutput" if FIVE else "CompositorNodeComposite"


def tree_of(scene: bpy.types.Scene, *, create: bool) -> Any:
    """The node tree that takes part in rendering, or None; ``create`` makes and enables one where there is none."""
    if FIVE:
        if scene.compositing_node_group is None and create:
            tree = bpy.data.node_groups.new(f"{scene.name} Compositing", "CompositorNodeTree")
            tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
            scene.compositing_node_group = tree
        return scene.compositing_node_group
    if create and not scene.use_nodes:
        scene.use_nodes = True
    return scene.node_tree if scene.use_nodes else None


def connect(scene: bpy.types.Scene, splat_scene: bpy.types.Scene) -> None:
    """Add our two nodes to a scene's compositing, or bring them up to date; nothing else is changed but the output's link."""
    scene.render.use_compositing = True
    tree = tree_of(scene, create=True)
    output = _output_node(tree)
    merge = tree.nodes.get(MERGE_NODE)
    if merge is None:
        merge = tree.nodes.new("CompositorNodeGroup")
        merge.name = merge.label = MERGE_NODE
        merge.location = (output.location.x - 220, output.location.y)
        merge.node_tree = _depth_merge_group()
        _connect_cg(tree, merge, output, scene)
    layer = tree.nodes.get(LAYER_NODE) or tree.nodes.new("CompositorNodeRLayers")
    layer.name = layer.label = LAYER_NODE
    layer.scene = splat_scene
    layer.layer = splat_scene.view_layers[0].name
    layer.location = (merge.location.x - 320, merge.location.y - 280)
    tree.links.new(layer.outputs["Image"], merge.inputs["Splats"])
    tree.links.new(layer.outputs["Depth"], merge.inputs["Splats Depth"])
    if not merge.outputs["Image"].is_linked:
        tree.links.new(merge.outputs["Image"], output.inputs[0])


def disconnect(scene: bpy.types.Scene) -> bool:
    """Remove our nodes; what fed the merge feeds what the merge fed. False where there were none."""
    tree = tree_of(scene, create=False)
    merge = tree.nodes.get(MERGE_NODE) if tree else None
    if merge is None:
        return False
    cg = merge.inputs["CG"]
    source = cg.links[0].from_socket if cg.is_linked else None
    targets = [link.to_socket for link in merge.outputs["Image"].links]
    tree.nodes.remove(merge)
    for target in targets:
        if source is not None:
            tree.links.new(source, target)
    for name in (LAYER_NODE, CG_LAYER_NODE):
        node = tree.nodes.get(name)
        if node is not None and not any(socket.is_linked and socket.name != "Depth" for socket in node.outputs):
            tree.nodes.remove(node)
    group = bpy.data.node_groups.get(GROUP_NAME)
    if group is not None and group.users == 0:
        bpy.data.node_groups.remove(group)
    return True


def _output_node(tree: bpy.types.NodeTree) -> bpy.types.Node:
    outputs = [node for node in tree.nodes if node.bl_idname == OUTPUT_NODE]
    active = next((node for node in outputs if getattr(node, "is_active_output", False)), None)
    if active or outputs:
        return active or outputs[0]
    output = tree.nodes.new(OUTPUT_NODE)
    output.location = (400, 0)
    return output


def _connect_cg(tree: bpy.types.NodeTree, merge: bpy.types.Node, output: bpy.types.Node, scene: bpy.types.Scene) -> None:
    """Give the merge what the output had, and a depth from a Render Layers node of the scene itself."""
    own_layers = [node for node in tree.nodes if node.bl_idname == "CompositorNodeRLayers" and node.scene == scene]
    layer = next(iter(own_layers), None)
    if layer is None:
        layer = tree.nodes.new("CompositorNodeRLayers")
        layer.scene = scene
        layer.name = layer.label = CG_LAYER_NODE
        layer.location = (merge.location.x - 320, merge.location.y + 120)
    scene.view_layers[layer.layer].use_pass_z = True
    before = output.inputs[0]
    source = before.links[0].from_socket if before.is_linked else layer.outputs["Image"]
    tree.links.new(source, merge.inputs["CG"])
    tree.links.new(layer.outputs["Depth"], merge.inputs["CG Depth"])
    tree.links.new(merge.outputs["Image"], before)


def _depth_merge_group() -> bpy.types.NodeTree:
    """The shared group, made once a file."""
    group = bpy.data.node_groups.get(GROUP_NAME)
    if group is not None and group.bl_idname == "CompositorNodeTree":
        return group
    group = bpy.data.node_groups.new(GROUP_NAME, "CompositorNodeTree")
    sockets = {"CG": "NodeSocketColor", "CG Depth": "NodeSocketFloat", "Splats": "NodeSocketColor", "Splats Depth": "NodeSocketFloat"}
    for name, kind in sockets.items():
        group.interface.new_socket(name, in_out="INPUT", socket_type=kind)
    group.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    given = _add(group, "NodeGroupInput", -600)
    in_front = _math(group, "LESS_THAN", -400, given.outputs["Splats Depth"], given.outputs["CG Depth"])
    behind = _math(group, "SUBTRACT", -200, 1.0, in_front.outputs[0])
    # The splats where they are behind, alone; then the CG over them; then the splats where they are in front.
    splats_behind = _over(group, 0, behind.outputs[0], None, given.outputs["Splats"])
    cg_over = _over(group, 200, None, splats_behind.outputs[0], given.outputs["CG"])
    splats_over = _over(group, 400, in_front.outputs[0], cg_over.outputs[0], given.outputs["Splats"])
    group.links.new(splats_over.outputs[0], _add(group, "NodeGroupOutput", 600).inputs[0])
    return group


def _add(group: bpy.types.NodeTree, kind: str, x: float) -> bpy.types.Node:
    node = group.nodes.new(kind)
    node.location = (x, 0)
    return node


def _math(group: bpy.types.NodeTree, operation: str, x: float, *values: Any) -> bpy.types.Node:
    node = _add(group, MATH_NODE, x)
    node.operation = operation
    for socket, value in zip(node.inputs, values, strict=False):
        _feed(group, socket, value)
    return node


def _over(group: bpy.types.NodeTree, x: float, factor: Any, background: Any, foreground: Any) -> bpy.types.Node:
    """Alpha Over of premultiplied colours; no factor means 1, no background means nothing."""
    node = _add(group, "CompositorNodeAlphaOver", x)
    if "Foreground" in node.inputs:
        sockets = [node.inputs[name] for name in ("Factor", "Background", "Foreground")]
    else:
        sockets = list(node.inputs)[:3]
    for socket, value in zip(sockets, (factor, background, foreground), strict=True):
        default = 1.0 if socket == sockets[0] else (0.0, 0.0, 0.0, 0.0)
        _feed(group, socket, default if value is None else value)
    return node


def _feed(group: bpy.types.NodeTree, socket: bpy.types.NodeSocket, value: Any) -> None:
    if isinstance(value, bpy.types.NodeSocket):
        group.links.new(value, socket)
    else:
        socket.default_value = value
