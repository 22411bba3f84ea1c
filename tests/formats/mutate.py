# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage to bytes, as accidents and attackers do it."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib

from exgs_blender.ugc.container import read_container, write_container

EXTREMES = [0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1]


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to four changes; what checksums guard (gzip, ZIP, .exgs) is changed inside them as often as outside."""
    if rng.random() < 0.5:
        for change in (_gzip, _bundle, _sections):
            try:
                return change(content, rng)
            except Exception:  # not of this kind, or damaged before: zipfile raises much
                continue
    return _changed(content, rng)


def _gzip(content: bytes, rng: random.Random) -> bytes:
    inside = zlib.decompress(content, 31)
    packer = zlib.compressobj(wbits=31)
    return packer.compress(_changed(inside, rng)) + packer.flush()


def _bundle(content: bytes, rng: random.Random) -> bytes:
    """One member of a ZIP file is changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()}
    name = rng.choice(sorted(members))
    members[name] = _changed(members[name], rng)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as bundle:
        for name, member in members.items():
            bundle.writestr(name, member)
    return target.getvalue()


def _sections(content: bytes, rng: random.Random) -> bytes:
    """One section of an .exgs file is changed."""
    container = read_container(content, "sample")
    sections = {name: bytes(section) for name, section in container.sections.items()}
    name = rng.choice(sorted(sections))
    sections[name] = _changed(sections[name], rng)
    return write_container(sections, container.version)


def _changed(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        # Headers are at the beginning (and, in ZIP files, at the end): half of the changes fall there.
        place = rng.random()
        reach = min(len(data), 300)
        at = rng.randrange(reach + 1) if place < 0.5 else rng.randrange(len(data) + 1)
        if place > 0.9:
            at = len(data) - rng.randrange(reach + 1)
        kind = rng.randrange(8)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            value = rng.choice(EXTREMES)
            code = rng.choice([c for c, bits in (("<B", 8), ("<H", 16), ("<I", 32), (">I", 32), ("<Q", 64)) if value < 2**bits])
            data[at : at + struct.calcsize(code)] = struct.pack(code, value)
        elif kind == 3:
            data[at : at + 4] = struct.pack("<f", rng.choice([0.0, -1.0, 1e38, float("inf"), float("nan"), 1e-45]))
        elif kind == 4:
            del data[at : at + rng.randrange(1, 40)]
        elif kind == 5:
            start = rng.randrange(len(data) + 1)
            data[at:at] = data[start : start + rng.randrange(1, 60)]
        elif kind == 6:
            digits = rng.choice([b"0", b"-1", b"99999999999", b"1e999", b"nan", b"[]", b"{}", b"null", b'""', b"\n", b" "])
            data[at : at + rng.randrange(3)] = digits
        else:
            del data[max(at, 1) :]
    return bytes(data)
