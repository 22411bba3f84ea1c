# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh of a field's zero level."""

from __future__ import annotations

import numpy as np

from exgs_blender.splats.surface_nets import surface_nets

CENTRE, RADIUS = np.array([15.2, 16.1, 19.7]), 9.3


def _sphere() -> np.ndarray:
    places = np.stack(np.meshgrid(*[np.arange(size) for size in (30, 34, 38)], indexing="ij"), axis=-1)
    return (np.linalg.norm(places - CENTRE, axis=-1) - RADIUS).astype(np.float32)


def _normals(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    a, b, c, d = (vertices[quads[:, i]] for i in range(4))
    return np.cross(c - a, d - b)


def test_a_sphere_is_closed_and_faces_outwards() -> None:
    field = _sphere()
    vertices, quads = surface_nets(field, np.ones(field.shape, bool))
    off = np.linalg.norm(vertices - CENTRE, axis=1) - RADIUS
    assert np.abs(off).max() < 0.1
    edges = np.sort(np.concatenate([quads[:, [i, (i + 1) % 4]] for i in range(4)]), axis=1)
    _, used = np.unique(edges, axis=0, return_counts=True)
    assert (used == 2).all(), "an edge without two faces"
    assert len(vertices) - len(used) + len(quads) == 2, "not a sphere (Euler)"
    outwards = np.einsum("ij,ij->i", _normals(vertices, quads), vertices[quads].mean(axis=1) - CENTRE)
    assert (outwards > 0).all()


def test_open_where_nothing_is_known() -> None:
    field = _sphere()
    known = np.ones(field.shape, bool)
    known[:, :, 20:] = False
    vertices, quads = surface_nets(field, known)
    assert len(quads) > 0
    assert vertices[:, 2].max() <= 19.0
    nothing, no_quads = surface_nets(field, np.zeros(field.shape, bool))
    assert len(nothing) == len(no_quads) == 0
