# SPDX-License-Identifier: GPL-3.0-or-later
"""The compositor's nodes. The difference between Blender 4.x and 5.x lives in this file and nowhere else.

What is made: one Render Layers node for the splat scene and one group node that merges it with whatever was
connected to the scene's output before::

    CG (as it was) ---------> [ ExGS Depth Merge ] ---> output
    CG depth ------------------^  ^  ^  ^
    splats, splat depth ----------+--+  |
    shadows on splats (Cycles) ---------+

The group tests ``splat depth < CG depth`` a pixel. In front, the splats go over the CG; behind, the CG goes over
the splats, which matters only where the CG is transparent. Z Combine is not used: it multiplies premultiplied
splats by their alpha once more. Shadows, where a proxy of the splats catches them, darken the splats before that.

There are two groups. The plain one blends in linear light, as compositors do. The other blends in sRGB space, as captures are
trained to be blended: ``A srgb(F / A) + (1 - A) srgb(B)``, decoded again. They differ where splats are half transparent.
"""

from __future__ import annotations

from typing import Any

import bpy

GROUP_NAME = "ExGS Depth Merge"
SRGB_GROUP_NAME = "ExGS Depth Merge sRGB"
GROUP_NAMES = {"LINEAR": GROUP_NAME, "SRGB": SRGB_GROUP_NAME}
MERGE_NODE = "ExGS Merge"
LAYER_NODE = "ExGS Splats"
CG_LAYER_NODE = "ExGS CG Depth"
SHADOW_PASS = "Shadow Catcher"

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


def connect(scene: bpy.types.Scene, splat_scene: bpy.types.Scene, blending: str = "LINEAR", shadows: bool = False) -> None:
    """Add our two nodes to a scene's compositing, or bring them up to date; nothing else is changed but the output's link.

    Args:
        blending: a key of GROUP_NAMES.
        shadows: whether the scene's renderer has a pass of shadows that fall on the splats.
    """
    scene.render.use_compositing = True
    tree = tree_of(scene, create=True)
    output = _output_node(tree)
    merge = tree.nodes.get(MERGE_NODE)
    if merge is None:
        merge = tree.nodes.new("CompositorNodeGroup")
        merge.name = merge.label = MERGE_NODE
        merge.location = (output.location.x - 220, output.location.y)
        merge.node_tree = _depth_merge_group(blending)
        _connect_cg(tree, merge, output, scene)
    blend(scene, blending)
    layer = tree.nodes.get(LAYER_NODE) or tree.nodes.new("CompositorNodeRLayers")
    layer.name = layer.label = LAYER_NODE
    layer.scene = splat_scene
    layer.layer = splat_scene.view_layers[0].name
    layer.location = (merge.location.x - 320, merge.location.y - 280)
    tree.links.new(layer.outputs["Image"], merge.inputs["Splats"])
    tree.links.new(layer.outputs["Depth"], merge.inputs["Splats Depth"])
    _connect_shadows(scene, tree, merge, shadows)
    if not merge.outputs["Image"].is_linked:
        tree.links.new(merge.outputs["Image"], output.inputs[0])


def blend(scene: bpy.types.Scene, blending: str) -> None:
    """Choose how a connected scene blends; the links stay. Nothing happens where it is not connected."""
    tree = tree_of(scene, create=False)
    merge = tree.nodes.get(MERGE_NODE) if tree else None
    if merge is not None and merge.node_tree != (group := _depth_merge_group(blending)):
        merge.node_tree = group
        _remove_unused_groups()


def _connect_shadows(scene: bpy.types.Scene, tree: bpy.types.NodeTree, merge: bpy.types.Node, shadows: bool) -> None:
    """Feed the merge with Cycles' shadow pass, which is switched on for it; or take both back."""
    depth, own = merge.inputs["CG Depth"], merge.inputs["Shadows"]
    layer = depth.links[0].from_node if depth.is_linked else None
    if shadows and layer is not None and layer.bl_idname == "CompositorNodeRLayers":
        _switch_shadow_pass(scene, layer.layer)
        tree.links.new(layer.outputs[SHADOW_PASS], own)
        return
    if own.is_linked and own.links[0].from_socket.name == SHADOW_PASS:
        tree.links.remove(own.links[0])
    _switch_shadow_pass(scene, "")


def _switch_shadow_pass(scene: bpy.types.Scene, wanted: str) -> None:
    """Have the pass in the view layer ``wanted``; where it was switched on before for us, elsewhere, switch it off."""
    before = scene.view_layers.get(scene.exgs.shadow_layer)
    if before is not None and before.name != wanted:
        before.cycles.use_pass_shadow_catcher = False
        scene.exgs.shadow_layer = ""
    if wanted and not scene.view_layers[wanted].cycles.use_pass_shadow_catcher:
        scene.view_layers[wanted].cycles.use_pass_shadow_catcher = True
        scene.exgs.shadow_layer = wanted


def disconnect(scene: bpy.types.Scene) -> bool:
    """Remove our nodes; what fed the merge feeds what the merge fed. False where there were none."""
    tree = tree_of(scene, create=False)
    merge = tree.nodes.get(MERGE_NODE) if tree else None
    if merge is None:
        return False
    _connect_shadows(scene, tree, merge, False)
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
    _remove_unused_groups()
    return True


def _remove_unused_groups() -> None:
    for name in GROUP_NAMES.values():
        group = bpy.data.node_groups.get(name)
        if group is not None and group.users == 0:
            bpy.data.node_groups.remove(group)


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


def _depth_merge_group(blending: str) -> bpy.types.NodeTree:
    """The shared group, made once a file."""
    name = GROUP_NAMES[blending]
    group = bpy.data.node_groups.get(name)
    if group is not None and group.bl_idname == "CompositorNodeTree":
        return group
    group = bpy.data.node_groups.new(name, "CompositorNodeTree")
    sockets = {"CG": "NodeSocketColor", "CG Depth": "NodeSocketFloat", "Splats": "NodeSocketColor", "Splats Depth": "NodeSocketFloat"}
    for socket, kind in (*sockets.items(), ("Shadows", "NodeSocketColor")):  # in this order: a change of group keeps the links by it
        made = group.interface.new_socket(socket, in_out="INPUT", socket_type=kind)
        if socket == "Shadows":
            made.default_value = (1.0, 1.0, 1.0, 1.0)
    group.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    given = _add(group, "NodeGroupInput", -1000)
    in_front = _math(group, "LESS_THAN", -400, given.outputs["Splats Depth"], given.outputs["CG Depth"])
    behind = _math(group, "SUBTRACT", -200, 1.0, in_front.outputs[0])
    cg, splats = given.outputs["CG"], _multiplied(group, -800, given.outputs["Splats"], given.outputs["Shadows"])
    if blending == "SRGB":
        cg, splats = _encoded(group, -600, cg), _encoded(group, -600, splats)
    # The splats where they are behind, alone; then the CG over them; then the splats where they are in front.
    splats_behind = _over(group, 0, behind.outputs[0], None, splats)
    cg_over = _over(group, 200, None, splats_behind.outputs[0], cg)
    result = _over(group, 400, in_front.outputs[0], cg_over.outputs[0], splats).outputs[0]
    if blending == "SRGB":
        result = _decoded(group, 600, result)
    group.links.new(result, _add(group, "NodeGroupOutput", 1200).inputs[0])
    return group


def _multiplied(group: bpy.types.NodeTree, x: float, colour: Any, factor: Any) -> Any:
    """Red, green and blue times those of ``factor``; alpha stays."""
    if FIVE:
        node = _add(group, "ShaderNodeMix", x)
        node.data_type, node.clamp_result = "RGBA", False
        sockets = [next(s for s in node.inputs if s.name == name and s.type == kind) for name, kind in (("A", "RGBA"), ("B", "RGBA"))]
        strength, output = node.inputs[0], next(s for s in node.outputs if s.type == "RGBA")
    else:
        node = _add(group, "CompositorNodeMixRGB", x)
        strength, sockets, output = node.inputs[0], list(node.inputs)[1:3], node.outputs[0]
    node.blend_type = "MULTIPLY"
    strength.default_value = 1.0
    for socket, value in zip(sockets, (colour, factor), strict=True):
        group.links.new(value, socket)
    return output


def _encoded(group: bpy.types.NodeTree, x: float, colour: Any) -> Any:
    """Premultiplied scene-linear -> the sRGB-encoded own colour, premultiplied."""
    encode = _add(group, "CompositorNodeConvertColorSpace", x + 70)
    encode.to_color_space = "sRGB"  # from: scene-linear, whatever it is called in this version
    return _between_alpha_converts(group, x, colour, encode)


def _decoded(group: bpy.types.NodeTree, x: float, colour: Any) -> Any:
    """The inverse of :func:`_encoded`."""
    decode = _add(group, "CompositorNodeConvertColorSpace", x + 70)
    decode.from_color_space = "sRGB"
    return _between_alpha_converts(group, x, colour, decode)


def _between_alpha_converts(group: bpy.types.NodeTree, x: float, colour: Any, node: bpy.types.Node) -> Any:
    ends = []
    for at, mapping, words in ((x, "PREMUL_TO_STRAIGHT", "To Straight"), (x + 140, "STRAIGHT_TO_PREMUL", "To Premultiplied")):
        convert = _add(group, "CompositorNodePremulKey", at)
        if "Type" in convert.inputs:
            convert.inputs["Type"].default_value = words
        else:
            convert.mapping = mapping
        ends.append(convert)
    group.links.new(colour, ends[0].inputs["Image"])
    group.links.new(ends[0].outputs[0], node.inputs[0])
    group.links.new(node.outputs[0], ends[1].inputs["Image"])
    return ends[1].outputs[0]


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
