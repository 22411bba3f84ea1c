# SPDX-License-Identifier: GPL-3.0-or-later
"""One small whole file of every format and variant, to be damaged by the tests and by the fuzzer."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np

from exgs_blender import formats
from exgs_blender.errors import MissingDependencyError

from ..clouds import random_gaussians
from .encoders import compressed_ply_bytes, ksplat, sog_parts, sog_version_1_parts, spz_bytes, spz_header, write_bundle


def write_samples(folder: Path) -> list[Path]:
    """Files named by their format."""
    cloud = random_gaussians(6, 1)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a.ply", "a.glb", "a.usda", "a.usdc", "a.exgs"):
        try:
            formats.write(folder / name, cloud)
        except MissingDependencyError:
            (folder / name).unlink(missing_ok=True)
    formats.write(folder / "a.splat", cloud.with_sh_degree(0))
    (folder / "a.compressed.ply").write_bytes(compressed_ply_bytes(cloud))
    for version in (1, 2, 3, 4):
        (folder / f"v{version}.spz").write_bytes(spz_bytes(cloud, version))
    (folder / "plain.spz").write_bytes(gzip.decompress(spz_bytes(cloud, 3)))
    for level in (0, 1, 2):
        (folder / f"level{level}.ksplat").write_bytes(ksplat([random_gaussians(20, 1, spread=0.4)], level))
    write_bundle(folder / "v2.sog", sog_parts(cloud, 4))
    write_bundle(folder / "v1.sog", sog_version_1_parts(cloud, 4))
    np.savez(folder / "stored.npz", **dict(cloud.arrays()))
    np.savez_compressed(folder / "packed.npz", **dict(cloud.arrays()))
    text = [f"{value:.6g}" for value in range(14)]
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    head = ["ply", "format ascii 1.0", "element vertex 2", *(f"property float {name}" for name in names), "end_header"]
    (folder / "text.ply").write_text("\n".join([*head, " ".join(text), " ".join(text), ""]))
    faces = [*head[:2], "element face 1", "property list uchar int i", *head[2:], "3 0 1 2", " ".join(text), " ".join(text), ""]
    (folder / "lists.ply").write_text("\n".join(faces))
    return sorted(folder.iterdir())


def write_bombs(folder: Path) -> list[Path]:
    """Small files that claim, or would unpack to, gigabytes."""
    cloud = random_gaussians(6, 1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zeros.spz").write_bytes(gzip.compress(spz_header(3, 40_000_000, 3) + bytes(300_000_000), 1))
    (folder / "tail.spz").write_bytes(gzip.compress(spz_header(3, 10, 0) + bytes(300_000_000), 1))
    with zipfile.ZipFile(folder / "texture.sog", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
        for name, content in sog_parts(cloud, 4).items():
            bundle.writestr(name, bytes(300_000_000) if name == "quats.webp" else content)
    with zipfile.ZipFile(folder / "meta.sog", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("meta.json", b"[{}" + b",{}" * 5_000_000 + b"]")
    with zipfile.ZipFile(folder / "means.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("means", "quats", "scales", "opacities", "sh0"):
            shape = {"quats": (25_000_000, 4), "opacities": (25_000_000,)}.get(name, (25_000_000, 3))
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})
                for _ in range(4 if name == "means" else 0):
                    member.write(bytes(75_000_000))
    head = b"ply\nformat binary_little_endian 1.0\nelement nothing 999999999999\nelement vertex 4000000000\n"
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    properties = b"".join(b"property float %s\n" % name.encode() for name in names)
    (folder / "count.ply").write_bytes(head + properties + b"end_header\n" + bytes(5600))
    lists = head.replace(b"element vertex", b"element face 4000000000\nproperty list uchar int i\nelement vertex")
    (folder / "lists.ply").write_bytes(lists + properties + b"end_header\n" + bytes(5600))
    (folder / "long.ply").write_bytes(b"ply\n" + b"comment x\n" * 2_000_000)
    (folder / "deep.glb").write_bytes(b"glTF" + struct.pack("<IIII", 2, 4_000_020, 4_000_000, 0x4E4F534A) + b"[" * 4_000_000)
    (folder / "wide.gltf").write_bytes(b'{"asset":[{}' + b",{}" * 5_000_000 + b"]}")
    (folder / "count.ksplat").write_bytes(struct.pack("<BBHIIII", 0, 1, 0, 4096, 4096, 0, 2**32 - 1).ljust(4096 + 1024 * 4096, b"\1"))
    (folder / "array.usda").write_text("#usda 1.0\n" + "(" * 1_000_000)
    return sorted(folder.iterdir())
