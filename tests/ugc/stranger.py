# SPDX-License-Identifier: GPL-3.0-or-later
"""A decoder of .exgs files written from docs/exgs-format.md alone: plain Python, no numpy, nothing of the package. Slow."""

from __future__ import annotations

import json
import lzma
import math
import struct
import zlib
from itertools import pairwise
from typing import Any

Rows = list[list[float]]


def decode(data: bytes) -> dict[str, Any]:
    """means, scales (logarithms), quats, opacities (logits), sh0, shN (flat), notes."""
    sections = _sections(data)
    head = _head(sections["head"])
    components, degree = head["components"], head["degree"]
    rest = 3 * ((degree + 1) ** 2 - 1)
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}]
    tables = lzma.decompress(sections["tables"], lzma.FORMAT_RAW, filters=filters)
    basis = [list(struct.unpack_from(f"<{rest}b", tables, m * rest)) for m in range(components)]
    channels = _channels(tables[components * rest :], 12 + components if components else 11)
    cloud: list[dict[str, Any]] = []
    for number, count in enumerate(head["layers"]):
        at, parts = 0, -(-count // 65536)
        earlier = sorted(cloud, key=lambda g: g["code"])
        for part in range(parts):
            size = (part + 1) * count // parts - part * count // parts
            gaussians, at = _part(sections[f"layer {number}"], at, size, channels, head, earlier)
            cloud += gaussians
        assert at == len(sections[f"layer {number}"])
    return {**_values(cloud, head, basis), "notes": json.loads(zlib.decompress(sections["notes"]))}


def _sections(data: bytes) -> dict[str, bytes]:
    assert data[:8] == b"\x89EXGS\r\n\x1a"
    version, number, crc = struct.unpack_from("<HHI", data, 8)
    assert version == 2
    assert zlib.crc32(data[:12] + data[16 : 16 + 32 * number]) == crc
    sections = {}
    for i in range(number):
        name, check, offset, length = struct.unpack_from("<12sIQQ", data, 16 + 32 * i)
        content = data[offset : offset + length]
        assert zlib.crc32(content) == check
        sections[name.rstrip(b"\0").decode()] = content
    return sections


def _head(data: bytes) -> dict[str, Any]:
    degree, components, layers, limits, bits = data[:5]
    real = struct.unpack_from("<16d", data, 12)
    numbers = struct.unpack_from(f"<{layers}I{limits}i", data, 140)
    return {
        "degree": degree,
        "components": components,
        "bits": bits,
        "levels": struct.unpack_from("<I", data, 8)[0],
        "centre": real[0:3],
        "radius": real[3],
        "low": real[4:7],
        "cell": real[7],
        "pixel": real[8],
        "scale": real[9],
        "rotation": real[10],
        "colour": real[11],
        "sh": real[12],
        "layers": numbers[:layers],
        "limits": numbers[layers:],
    }


def _channels(data: bytes, number: int) -> list[dict[str, Any]]:
    lows = struct.unpack_from(f"<{number}i", data)
    alphabets = struct.unpack_from(f"<{number}H", data, 4 * number)
    plain, kind1, count1, kind2, count2 = (data[(6 + i) * number : (7 + i) * number] for i in range(5))
    at, channels = 11 * number, []
    for i in range(number):
        sources = []
        for kind, count in ((kind1[i], count1[i]), (kind2[i], count2[i])):
            sources.append((kind, struct.unpack_from(f"<{count}H", data, at)))
            at += 2 * count
        channels.append({"low": lows[i], "alphabet": alphabets[i], "plain": plain[i], "sources": sources})
    for channel in channels:
        rows = math.prod(len(limits) + 1 + (kind >= 128) for kind, limits in channel["sources"])
        size = channel["alphabet"]
        channel["rows"] = [_frequencies(data[at + r * size : at + (r + 1) * size]) for r in range(rows)]
        at += rows * size
    assert at == len(data)
    return channels


def _frequencies(codes: bytes) -> list[int]:
    weights = [math.floor(256 * 2 ** ((k - 1) / 4)) if k else 0 for k in codes]
    used, total, ends, running, seen = sum(k > 0 for k in codes), sum(weights), [0], 0, 0
    for k, weight in zip(codes, weights, strict=True):
        running, seen = running + weight, seen + (k > 0)
        ends.append(running * (4096 - used) // total + seen)
    return [b - a for a, b in pairwise(ends)]


def _part(data: bytes, at: int, size: int, channels: list[Any], head: Any, earlier: list[Any]) -> tuple[list[Any], int]:
    lanes, word_count, plain_count = struct.unpack_from("<HII", data, at)
    states = list(struct.unpack_from(f"<{lanes}I", data, at + 10))
    words = iter(struct.unpack_from(f"<{word_count}H", data, at + 10 + 4 * lanes))
    at += 10 + 4 * lanes + 2 * word_count
    plain = data[at : at + plain_count]
    gaussians: list[dict[str, Any]] = [{"symbols": []} for _ in range(size)]
    for number, channel in enumerate(channels):
        element = 0
        for gaussian in gaussians:
            if number >= 12 and gaussian["symbols"][11] + channels[11]["low"] <= number - 12:
                gaussian["symbols"].append(min(max(-channel["low"] >> channel["plain"], 0), channel["alphabet"] - 1))
                continue
            lane = element % lanes
            states[lane], symbol = _symbol(states[lane], channel["rows"][_row(channel, gaussian, earlier)], words)
            gaussian["symbols"].append(symbol)
            element += 1
        if number == 0:
            plain = _place(gaussians, plain, channel, earlier)
    assert next(words, None) is None
    assert all(1 << 16 <= x < 1 << 17 for x in states)
    bits = _Bits(b"".join(struct.pack("<H", x & 0xFFFF) for x in states) + plain)
    for number, channel in enumerate(channels):
        for gaussian in gaussians:
            missing = number >= 12 and gaussian["values"][11] <= number - 12
            value = 0 if missing else channel["low"] + (gaussian["symbols"][number] << channel["plain"])
            if number and not missing:
                value += bits.take(channel["plain"])
            gaussian.setdefault("values", []).append(value)
        bits.align()
    for gaussian in gaussians:
        middle = sorted(gaussian["values"][1:4])[1]
        gaussian["cuts"] = sum(limit >= middle for limit in head["limits"])
        gaussian["offset"] = [bits.take(gaussian["cuts"]) for _ in range(3)]
    return gaussians, at + plain_count


def _place(gaussians: list[Any], plain: bytes, channel: Any, earlier: list[Any]) -> bytes:
    """Morton codes and neighbours of all; returns the plain bytes that are left."""
    bits, code = _Bits(plain), 0
    codes = [other["code"] for other in earlier]
    for gaussian in gaussians:
        length = channel["low"] + gaussian["symbols"][0]
        code += (1 << (length - 1) | bits.take(length - 1)) if length else 0
        gaussian["code"] = code
        after = sum(other <= code for other in codes)
        gaussian["near"] = [earlier[max(after - 1, 0)], earlier[min(after, len(earlier) - 1)]] if earlier else None
    bits.align()
    return bits.left()


def _row(channel: Any, gaussian: Any, earlier: list[Any]) -> int:
    row = 0
    for kind, limits in channel["sources"]:
        classes = len(limits) + 1 + (kind >= 128)
        if kind == 0:
            found = 0
        elif kind >= 128 and not earlier:
            found = classes - 1
        else:
            j = kind - 128 if kind >= 128 else kind - 1
            symbol = sum(g["symbols"][j] for g in gaussian["near"]) // 2 if kind >= 128 else gaussian["symbols"][j]
            found = sum(symbol >= limit for limit in limits)
        row = row * classes + found
    return row


def _symbol(x: int, frequencies: list[int], words: Any) -> tuple[int, int]:
    slot, start = x & 4095, 0
    for symbol, frequency in enumerate(frequencies):
        if slot < start + frequency:
            x = frequency * (x >> 12) + slot - start
            return (x << 16 | next(words) if x < 1 << 16 else x), symbol
        start += frequency
    raise AssertionError("a row does not sum to 4096")


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | (self.data[self.at >> 3] >> (7 - (self.at & 7)) & 1)
            self.at += 1
        return value

    def align(self) -> None:
        self.at = -(-self.at // 8) * 8

    def left(self) -> bytes:
        return self.data[self.at // 8 :]


def _values(cloud: list[Any], head: Any, basis: list[list[int]]) -> dict[str, Rows]:
    names = ("means", "scales", "quats", "opacities", "sh0", "shN")
    found: dict[str, Rows] = {name: [] for name in names}
    lengths = [math.sqrt(sum(b * b for b in row)) for row in basis]
    for gaussian in cloud:
        q, cuts = gaussian["values"], gaussian["cuts"]
        cell = [sum((gaussian["code"] >> (3 * b + axis) & 1) << b for b in range(head["bits"])) for axis in range(3)]
        u = [head["low"][a] + head["cell"] * (cell[a] + (gaussian["offset"][a] + 0.5) / 2**cuts) for a in range(3)]
        found["means"].append([head["centre"][a] + head["radius"] * math.sinh(u[a]) for a in range(3)])
        scales = [value * head["scale"] for value in q[1:4]]
        found["scales"].append(scales)
        extent = [math.sqrt(math.exp(2 * s) + head["pixel"] ** 2) for s in scales]
        ratios = [extent[i] / extent[j] for i, j in ((1, 2), (0, 2), (0, 1))]
        vector = [q[5 + k] * head["rotation"] / math.sqrt((ratios[k] - 1 / ratios[k]) ** 2 + 0.25) for k in range(3)]
        norm = math.sqrt(1 + sum(v * v for v in vector))
        found["quats"].append([1 / norm, *(v / norm for v in vector)])
        levels = head["levels"]
        opacity = min(max(q[4] / levels, 1 / (4 * levels)), 1 - 1 / (4 * levels))
        found["opacities"].append([min(max(math.log(opacity / (1 - opacity)), -16), 16)])
        y, co, cg = q[8] * head["colour"], q[9] * 1.5 * head["colour"], q[10] * 1.5 * head["colour"]
        found["sh0"].append([(c - 0.5) / 0.28209479177387814 for c in (y + co - cg, y + cg, y - co - cg)])
        steps = [q[12 + m] * head["sh"] / lengths[m] for m in range(len(basis))]
        rest = 3 * ((head["degree"] + 1) ** 2 - 1)
        found["shN"].append([sum(s * row[i] for s, row in zip(steps, basis, strict=True)) for i in range(rest)])
    return found
