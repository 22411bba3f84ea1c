# SPDX-License-Identifier: GPL-3.0-or-later
"""Splats in the 3D view, before Blender 5.3 draws its own.

``packing``, ``ordering``, ``sorter`` and ``pace`` are numpy alone and are tested without Blender; ``shaders`` and ``painter`` need
``gpu``; ``clouds`` reads the scene, and ``draw`` puts it all together in a draw handler.

A frame: the view's splats are blended back to front, in the capture's own sRGB-encoded space, into a picture of our own in half
floats, tested against the depth that the scene has drawn; the picture then goes over the view. Sorting runs in a thread; until it
is done the old order is drawn at the new place, so nothing ever waits and nothing vanishes.
"""
