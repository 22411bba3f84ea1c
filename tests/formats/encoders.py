# SPDX-License-Identifier: GPL-3.0-or-later
"""Small writers of the formats that ExGS only reads, from their specifications: the other half of round trips."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray
from PIL import Image

from exgs_blender.splats import Gaussians
from exgs_blender.splats.activation import SH_C0, opacity_from_logit, unit_quats

# Signs of the SH coefficients of degree 1 to 4 under (x, -y, -z), written out from their polynomials:
# y, z, x | xy, yz, zz, xz, xx-yy | y, xyz, y, z, x, z, x | xy, yz, xy, yz, 1, xz, 1, xz, 1
RUB_SIGNS = [-1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1, -1, 1, -1, 1, 1, -1, 1, -1]
RUB_SIGNS_REFERENCE_LIBRARY = [*RUB_SIGNS, -1]  # it mirrors the last one too


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _smallest_three(quats: NDArray[np.floating], order: list[int]) -> tuple[NDArray[np.intp], NDArray[np.floating]]:
    """Index of the largest component in ``order``, and the three others [N, 3] times its sign."""
    unit = unit_quats(quats)[:, order].astype(np.float64)
    largest = np.abs(unit).argmax(axis=1)
    unit *= np.sign(np.take_along_axis(unit, largest[:, None], 1))
    others = np.array([[i for i in range(4) if i != which] for which in largest])
    return largest, np.take_along_axis(unit, others, 1)


def spz_attributes(cloud: Gaussians, version: int, fractional_bits: int = 12) -> list[bytes]:
    """The attribute streams of an SPZ file, in order."""
    mirrored = cloud.means * np.array([1, -1, -1], np.float32)
    if version == 1:
        positions = mirrored.astype("<f2").tobytes()
    else:
        fixed = np.round(mirrored.astype(np.float64) * 2**fractional_bits).astype("<i4")
        positions = fixed.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    quats = unit_quats(cloud.quats) * np.array([1, 1, -1, -1], np.float32)
    if version < 3:
        rotations = _bytes(quats[:, 1:] * np.where(quats[:, :1] < 0, -127.5, 127.5) + 127.5).tobytes()
    else:
        largest, small = _smallest_three(quats, [1, 2, 3, 0])
        fields = np.round(np.abs(small) * 511 * np.sqrt(2)).astype(np.uint32) | ((small < 0).astype(np.uint32) << 9)
        words = (largest.astype(np.uint32) << 30) | (fields[:, 0] << 20) | (fields[:, 1] << 10) | fields[:, 2]
        rotations = words.astype("<u4").tobytes()
    rest = cloud.shN * np.array(RUB_SIGNS_REFERENCE_LIBRARY[: cloud.shN.shape[1]], np.float32)[:, None]
    return [
        positions,
        _bytes(opacity_from_logit(cloud.opacities) * 255).tobytes(),
        _bytes((cloud.sh0 * 0.15 + 0.5) * 255).tobytes(),
        _bytes((cloud.scales + 10) * 16).tobytes(),
        rotations,
        _bytes(rest * 128 + 128).tobytes(),
    ]


def spz_header(version: int, count: int, degree: int, bits: int = 12, flags: int = 0, last: int = 0) -> bytes:
    return b"NGSP" + struct.pack("<IIBBBB", version, count, degree, bits, flags, last)


def spz_bytes(cloud: Gaussians, version: int, records: bytes = b"", fractional_bits: int = 12) -> bytes:
    """A whole SPZ file."""
    streams = [s for s in spz_attributes(cloud, version, fractional_bits) if s]
    flags = 2 if records else 0
    if version < 4:
        head = spz_header(version, len(cloud), cloud.sh_degree, fractional_bits, flags)
        return gzip.compress(head + b"".join(streams) + records)
    packed = [zstandard.compress(s) for s in streams]
    head = spz_header(4, len(cloud), cloud.sh_degree, fractional_bits, flags, len(streams))
    head += struct.pack("<I12x", 32 + len(records)) + records
    table = b"".join(struct.pack("<QQ", len(p), len(s)) for p, s in zip(packed, streams, strict=True))
    return head + table + b"".join(packed)


def _image(pixels: NDArray[np.uint8], width: int) -> bytes:
    """[N, 4] -> a lossless WebP image ``width`` pixels wide, its last row padded."""
    height = -(-len(pixels) // width)
    canvas = np.zeros((height * width, 4), np.uint8)
    canvas[: len(pixels)] = pixels
    file = io.BytesIO()
    Image.fromarray(canvas.reshape(height, width, 4)).save(file, "WEBP", lossless=True, exact=True)
    return file.getvalue()


def _codebook(values: NDArray[np.floating]) -> tuple[list[float], NDArray[np.uint8]]:
    """256 values spread over the range, and the nearest one's index for each value."""
    book = np.linspace(values.min(), values.max(), 256)
    index = np.abs(values.reshape(-1, 1) - book).argmin(axis=1).reshape(values.shape)
    return book.tolist(), index.astype(np.uint8)


def sog_parts(cloud: Gaussians, palette: int = 70) -> dict[str, bytes]:
    """File name -> content of a SOG version 2 capture. Gaussian i takes SH palette entry i % palette."""
    count = len(cloud)
    width = max(4, int(np.ceil(np.sqrt(count))))
    opaque = np.full((count, 1), 255, np.uint8)
    logs = np.sign(cloud.means) * np.log1p(np.abs(cloud.means.astype(np.float64)))
    low, high = logs.min(axis=0), logs.max(axis=0)
    cells = np.round((logs - low) / np.where(high > low, high - low, 1) * 65535).astype(np.uint16)
    largest, small = _smallest_three(cloud.quats, [0, 1, 2, 3])
    quats = np.concatenate([_bytes((small * np.sqrt(2) + 1) * 127.5), (252 + largest[:, None]).astype(np.uint8)], axis=1)
    scale_book, scales = _codebook(cloud.scales)
    colour_book, colours = _codebook(cloud.sh0[:, 0])
    alpha = _bytes(opacity_from_logit(cloud.opacities) * 255)[:, None]
    parts = {
        "means_l.webp": _image(np.concatenate([(cells & 255).astype(np.uint8), opaque], axis=1), width),
        "means_u.webp": _image(np.concatenate([(cells >> 8).astype(np.uint8), opaque], axis=1), width),
        "quats.webp": _image(quats, width),
        "scales.webp": _image(np.concatenate([scales, opaque], axis=1), width),
        "sh0.webp": _image(np.concatenate([colours, alpha], axis=1), width),
    }
    meta: dict[str, object] = {
        "version": 2,
        "count": count,
        "means": {"mins": low.tolist(), "maxs": high.tolist(), "files": ["means_l.webp", "means_u.webp"]},
        "quats": {"files": ["quats.webp"]},
        "scales": {"codebook": scale_book, "files": ["scales.webp"]},
        "sh0": {"codebook": colour_book, "files": ["sh0.webp"]},
    }
    if cloud.sh_degree:
        book, entries = _codebook(cloud.shN[:palette])
        rows = np.zeros((-(-len(entries) // 64) * 64, cloud.shN.shape[1], 4), np.uint8)
        rows[: len(entries), :, :3] = entries
        rows[..., 3] = 255
        labels = np.zeros((count, 4), np.uint8)
        labels[:, 0], labels[:, 1], labels[:, 3] = (np.arange(count) % palette) & 255, (np.arange(count) % palette) >> 8, 255
        parts["shN_centroids.webp"] = _image(rows.reshape(-1, 4), 64 * cloud.shN.shape[1])
        parts["shN_labels.webp"] = _image(labels, width)
        meta["shN"] = {
            "count": len(entries),
            "bands": cloud.sh_degree,
            "codebook": book,
            "files": ["shN_centroids.webp", "shN_labels.webp"],
        }
    return {"meta.json": json.dumps(meta).encode(), **parts}


def write_folder(folder: Path, parts: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in parts.items():
        (folder / name).write_bytes(content)
    return folder


def write_bundle(path: Path, parts: dict[str, bytes], prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in parts.items():
            bundle.writestr(prefix + name, content)
    return path


def compressed_ply_bytes(cloud: Gaussians, chunk_colours: bool = True) -> bytes:
    """A compressed PLY; with ``chunk_colours`` the newer dialect, which also has colour ranges."""
    count, chunks = len(cloud), -(-len(cloud) // 256)
    owner = np.arange(count) // 256
    ranges: dict[str, NDArray[np.floating]] = {}

    def unit(values: NDArray[np.floating], names: str, prefix: str = "") -> NDArray[np.floating]:
        scaled = np.empty(values.shape)
        for axis, name in enumerate(names):
            low = np.array([values[owner == c, axis].min() for c in range(chunks)], np.float32)
            high = np.array([values[owner == c, axis].max() for c in range(chunks)], np.float32)
            ranges[f"min_{prefix}{name}"], ranges[f"max_{prefix}{name}"] = low, high
            scaled[:, axis] = (values[:, axis] - low[owner]) / np.maximum(high - low, 1e-12)[owner]
        return scaled

    def pack(values: NDArray[np.floating], bits: tuple[int, ...]) -> NDArray[np.uint32]:
        words = np.zeros(count, np.uint32)
        for axis, width in enumerate(bits):
            words = (words << np.uint32(width)) | np.round(np.clip(values[:, axis], 0, 1) * ((1 << width) - 1)).astype(np.uint32)
        return words

    position = pack(unit(cloud.means, "xyz"), (11, 10, 11))
    scale = pack(unit(cloud.scales, "xyz", "scale_"), (11, 10, 11))
    rgb = cloud.sh0[:, 0] * SH_C0 + 0.5
    rgb = unit(rgb, "rgb") if chunk_colours else rgb
    colour = pack(np.concatenate([rgb, opacity_from_logit(cloud.opacities)[:, None]], axis=1), (8, 8, 8, 8))
    largest, small = _smallest_three(cloud.quats, [0, 1, 2, 3])
    rotation = (largest.astype(np.uint32) << np.uint32(30)) | pack(small / np.sqrt(2) + 0.5, (10, 10, 10))
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {chunks}", *(f"property float {n}" for n in ranges)]
    lines += [f"element vertex {count}"]
    lines += [f"property uint packed_{n}" for n in ("position", "rotation", "scale", "color")]
    body = np.stack([ranges[n] for n in ranges], axis=1).astype("<f4").tobytes()
    body += np.stack([position, rotation, scale, colour], axis=1).astype("<u4").tobytes()
    if cloud.sh_degree:
        rest = cloud.shN.transpose(0, 2, 1).reshape(count, -1)
        lines += [f"element sh {count}", *(f"property uchar f_rest_{i}" for i in range(rest.shape[1]))]
        body += np.clip(np.floor((rest / 8 + 0.5) * 256), 0, 255).astype(np.uint8).tobytes()
    return "\n".join([*lines, "end_header\n"]).encode() + body


KSPLAT_BUCKET, KSPLAT_BLOCK = 16, 2.0


def _ksplat_rows(cloud: Gaussians, level: int, positions: np.ndarray) -> bytes:
    number = "<f4" if level == 0 else "<f2"
    degree = cloud.sh_degree
    bands = [cloud.shN[:, b * b - 1 : (b + 1) ** 2 - 1].transpose(0, 2, 1).reshape(len(cloud), -1) for b in range(1, degree + 1)]
    sh = np.concatenate(bands, axis=1) if bands else np.zeros((len(cloud), 0))
    coded = {0: sh.astype("<f4"), 1: sh.astype("<f2"), 2: np.clip(np.round((sh + 1.5) / 3 * 255), 0, 255).astype("u1")}[level]
    rgba = np.concatenate([0.5 + 0.28209479 * cloud.sh0[:, 0], 1 / (1 + np.exp(-cloud.opacities[:, None]))], axis=1)
    rgba = np.clip(np.round(rgba * 255), 0, 255).astype("u1")
    columns = [positions, np.exp(cloud.scales).astype(number), cloud.quats.astype(number), rgba, coded]
    return b"".join(b"".join(np.ascontiguousarray(c[i]).tobytes() for c in columns) for i in range(len(cloud)))


def _ksplat_section(cloud: Gaussians, level: int) -> tuple[bytes, bytes]:
    """(header, data): full buckets first, the rest in two partly filled ones."""
    count = len(cloud)
    full = count // KSPLAT_BUCKET
    partial = (
        [(count - full * KSPLAT_BUCKET) // 2, count - full * KSPLAT_BUCKET - (count - full * KSPLAT_BUCKET) // 2]
        if count % KSPLAT_BUCKET
        else []
    )
    sizes = [KSPLAT_BUCKET] * full + partial
    owner = np.repeat(np.arange(len(sizes)), sizes)
    centres = np.array([cloud.means[owner == b].mean(axis=0) if (owner == b).any() else (0, 0, 0) for b in range(len(sizes))], "<f4")
    if level == 0:
        positions, table, partial, centres, full = cloud.means.astype("<f4"), b"", [], np.zeros((0, 3), "<f4"), 0
    else:
        positions = np.round((cloud.means - centres[owner]) / (KSPLAT_BLOCK / 2) * 32767 + 32767).astype("<u2")
        table = np.array(partial, "<u4").tobytes()
    data = table + centres.tobytes() + _ksplat_rows(cloud, level, positions)
    header = struct.pack(
        "<IIIIfHHIIIIH", count, count, KSPLAT_BUCKET, len(centres), KSPLAT_BLOCK, 12, 0, 0, 0, full, len(partial), cloud.sh_degree
    )
    return header.ljust(1024, b"\0"), data


def ksplat(clouds: list[Gaussians], level: int) -> bytes:
    parts = [_ksplat_section(cloud, level) for cloud in clouds]
    total = sum(len(cloud) for cloud in clouds)
    header = struct.pack("<BBHIIIIHH3fff", 0, 1, 0, len(parts), len(parts), total, total, level, 0, 0, 0, 0, -1.5, 1.5)
    return header.ljust(4096, b"\0") + b"".join(h for h, _ in parts) + b"".join(d for _, d in parts)


def sog_version_1_parts(cloud: Gaussians, palette: int = 70) -> dict[str, bytes]:
    """A capture of the first version, from the parts of the second: same textures, values linear between two ends."""
    parts = sog_parts(cloud, palette)
    meta = json.loads(parts["meta.json"])
    for name in ("scales", "sh0"):
        book = meta[name].pop("codebook")
        meta[name] |= {"mins": [book[0]] * 3, "maxs": [book[-1]] * 3}
    logits = np.clip(cloud.opacities, -6, 6)
    pixels = np.array(Image.open(io.BytesIO(parts["sh0.webp"])))
    pixels.reshape(-1, 4)[: len(cloud), 3] = np.round((logits + 6) / 12 * 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, exact=True)
    meta["sh0"]["mins"].append(-6)
    meta["sh0"]["maxs"].append(6)
    meta["means"]["shape"] = [meta.pop("count"), 3]
    if "shN" in meta:
        book = meta["shN"].pop("codebook")
        meta["shN"] = {"mins": book[0], "maxs": book[-1], "quantization": 8, "files": meta["shN"]["files"]}
    del meta["version"]
    return parts | {"sh0.webp": file.getvalue(), "meta.json": json.dumps(meta).encode()}
