# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections of an .exgs file, version 2; docs/exgs-format.md is the specification. numpy and the standard library only."""

from __future__ import annotations

import json
import lzma
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExgsError, FileError
from ..splats import MAX_SH_DEGREE, Gaussians
from ..splats.gaussians import SH_COEFFICIENTS, unfilled
from . import v1
from .compiled import in_slices
from .container import HINT, MAGIC, Container, read_container, write_container
from .context_search import fit_models
from .contexts import Model, pack_models, tables_bytes_limit, unpack_models
from .dequantise import fill
from .grid import MAX_CELL_BITS, MAX_REFINEMENT, Grid
from .layer_coding import (
    ACTIVE,
    COLOUR,
    OPACITY,
    ROTATION,
    SCALE,
    SH,
    Columns,
    bits_below,
    columns_of,
    encode_part,
    parts_of,
    surroundings_of,
)
from .layer_decoding import LayerDecoder, Part
from .quantise import Quantised, Steps

__all__ = ["HINT", "MAGIC", "decode_gaussians", "encode_cloud", "section_sizes", "with_notes"]

GAUSSIANS_PER_BYTE = 8
"""A file holds at most this many Gaussians per byte of itself (short files are padded): bounds what a hostile count can allocate."""
MAX_LAYERS = 32
MAX_LEVELS = 1 << 16
MAX_NOTES = 1 << 20
_HEAD = struct.Struct("<BBBBB3xI16d")
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}]


def encode_cloud(quantised: Quantised, metadata: dict[str, Any]) -> tuple[bytes, dict[str, int]]:
    """A rounded cloud and its metadata (JSON values) -> (file, bytes that each attribute takes of it; they add up to all of it)."""
    columns, plain = columns_of(quantised)
    head, layers, basis = _Head.of(quantised), [layer for layer in parts_of(quantised.layers) if layer], quantised.basis
    del quantised  # where the caller does not hold it either, its memory is free now
    whole = [surroundings_of(columns, plain, slice(layer[0].start, layer[-1].stop), layer[0].start) for layer in layers]
    models, bits = fit_models(columns, plain, whole)
    sections = {
        "head": head.write(),
        "notes": _packed(metadata),
        "tables": lzma.compress(basis.tobytes() + pack_models(models), format=lzma.FORMAT_RAW, filters=_FILTERS),
    }
    for number, (layer, around) in enumerate(zip(layers, whole, strict=True)):
        sections[f"layer {number}"] = b"".join(encode_part(columns, models, around.part(run)) for run in layer)
    missing = len(columns.codes) // GAUSSIANS_PER_BYTE - sum(map(len, sections.values()))
    if missing > 0:
        sections["padding"] = bytes(missing)
    data = write_container(sections)
    return data, _sizes(len(data), sections, columns, bits)


def with_notes(data: bytes, added: dict[str, Any]) -> bytes:
    """A file of ours with more metadata (JSON values); everything else stays as it is."""
    container = read_container(data, "<bytes>")
    sections: dict[str, bytes | memoryview] = {**container.sections, "notes": _packed(_notes(container.sections["notes"]) | added)}
    return write_container(sections, container.version)


def _packed(metadata: dict[str, Any]) -> bytes:
    return zlib.compress(json.dumps(metadata, allow_nan=False, separators=(",", ":")).encode(), 9)


def _sizes(total: int, sections: dict[str, bytes], columns: Columns, bits: Sequence[float]) -> dict[str, int]:
    """Bytes by attribute. Layers mix them: what the channels' code lengths say, in proportion."""
    places = float(bits_below(columns.lengths).sum(dtype=np.int64) + 3 * columns.cuts.sum(dtype=np.int64))
    ends = {"position": SCALE, "scale": OPACITY, "opacity": ROTATION, "rotation": COLOUR, "colour": ACTIVE, "sh": len(bits)}
    amounts, first = {}, 0
    for name, end in ends.items():
        amounts[name] = sum(bits[first:end]) + (places if name == "position" else 0.0)
        first = end
    if columns.active is None:
        del amounts["sh"]
    coded = sum(len(data) for name, data in sections.items() if name.startswith("layer"))
    sizes = {name: int(coded * amount / max(sum(amounts.values()), 1e-9)) for name, amount in amounts.items()}
    sizes["tables"] = len(sections["tables"])
    return {"meta": total - sum(sizes.values()), **sizes}


def decode_gaussians(data: bytes, name: str, *, partial: bool = False) -> tuple[Gaussians, dict[str, Any]]:
    """The cloud of an .exgs file of any version, and its metadata.

    Args:
        name: the file's, for messages.
        partial: decode the layers that are whole in a file that is still on its way; at least the first must be.

    Raises:
        FileError: anything that ``read_container`` finds, or a section whose content does not fit; names the section.
    """
    container = read_container(data, name, partial=partial)
    if container.version == 1:
        if container.lacking:
            raise FileError(name, f"section '{container.lacking[0]}' is incomplete, and version 1 has no layers", HINT)
        sections = {section: bytes(content) for section, content in container.sections.items()}
        return _finite(*v1.decode_gaussians(sections, len(data), name), name)
    return _finite(*_decode(container, len(data), name), name)


def _finite(gaussians: Gaussians, metadata: dict[str, Any], name: str) -> tuple[Gaussians, dict[str, Any]]:
    """Both as they are; refuses what overflowed."""
    sums: list[float] = []  # quick: only a sum that overflows asks for a closer look
    with np.errstate(over="ignore", invalid="ignore"):
        in_slices(lambda part: sums.extend(float(array[part].sum()) for _, array in gaussians.arrays()), len(gaussians))
    bad = None if all(map(math.isfinite, sums)) else gaussians.nonfinite_field()
    if bad:
        raise FileError(name, f"decodes to a value in '{bad[0]}' that is not finite (Gaussian {bad[1]})", HINT)
    return gaussians, metadata


def section_sizes(data: bytes, name: str) -> dict[str, int]:
    """Bytes of each section of a file of any version.

    Raises:
        FileError: as ``read_container``.
    """
    return {section: len(content) for section, content in read_container(data, name).sections.items()}


def _decode(container: Container, file_bytes: int, name: str) -> tuple[Gaussians, dict[str, Any]]:
    section = "head"
    try:
        head = _Head.read(_section(container, "head"), file_bytes, container.lacking)
        section = "notes"
        metadata = _notes(_section(container, section))
        section = "tables"
        basis, models = _tables(_section(container, section), head)
        gaussians = unfilled(sum(head.layers), head.sh_degree)
        decoder = LayerDecoder(head.layers, models, head.grid, lambda run, part: _fill(gaussians, run, head, basis, part))
        for number, parts in enumerate(parts_of(head.layers)):
            section = f"layer {number}"
            decoder.decode(_section(container, section), parts)
    except FileError:
        raise
    except ExgsError as error:
        raise FileError(name, f"section '{section}': {error}", HINT) from error
    return gaussians, metadata


def _fill(gaussians: Gaussians, run: slice, head: _Head, basis: NDArray[np.int8], part: Part) -> None:
    """Write a decoded part to its place in the cloud."""
    values = part.values
    quantised = Quantised(
        steps=head.steps,
        grid=head.grid,
        pixel=head.pixel,
        sh_degree=head.sh_degree,
        layers=(run.stop - run.start,),
        cells=part.cells,
        offsets=part.offsets,
        scales=values[SCALE : SCALE + 3].T,
        rotations=values[ROTATION : ROTATION + 3].T,
        opacities=values[OPACITY],
        colours=values[COLOUR : COLOUR + 3].T,
        sh=values[SH:].T,
        basis=basis,
    )
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused in the end
        fill(gaussians, run, quantised)


@dataclass(frozen=True)
class _Head:
    """What sizes and scales the rest."""

    sh_degree: int
    components: int
    layers: tuple[int, ...]
    grid: Grid
    pixel: float
    steps: Steps

    @staticmethod
    def of(quantised: Quantised) -> _Head:
        q = quantised
        return _Head(q.sh_degree, q.sh.shape[1], q.layers, q.grid, q.pixel, q.steps)

    def write(self) -> bytes:
        g, s = self.grid, self.steps
        reals = (*g.centre, g.radius, *g.low, g.cell, self.pixel, s.scale, s.rotation, s.colour, s.sh, s.position_bits, s.sh_trade, 0.0)
        fixed = _HEAD.pack(self.sh_degree, self.components, len(self.layers), len(g.refinement), g.bits, s.opacity_levels, *reals)
        return fixed + struct.pack(f"<{len(self.layers)}I{len(g.refinement)}i", *self.layers, *g.refinement)

    @staticmethod
    def read(data: bytes | memoryview, file_bytes: int, lacking: Sequence[str]) -> _Head:
        """Every value within its bounds. Layers that are ``lacking`` (section names) do not count.

        Raises:
            ExgsError: a value is out of its bounds; says which.
        """
        if len(data) < _HEAD.size:
            raise ExgsError(f"has {len(data)} bytes, expected at least {_HEAD.size}")
        degree, components, layer_count, cuts, bits, levels, *reals = _HEAD.unpack_from(data)
        if len(data) != _HEAD.size + 4 * (layer_count + cuts):
            raise ExgsError(f"has {len(data)} bytes, expected {_HEAD.size + 4 * (layer_count + cuts)}")
        numbers = struct.unpack_from(f"<{layer_count}I{cuts}i", data, _HEAD.size)
        layers, refinement = numbers[:layer_count], numbers[layer_count:]
        whole = next((i for i in range(layer_count) if f"layer {i}" in lacking), layer_count)
        count = sum(layers[: max(whole, 1)])
        bounds = (
            (degree <= MAX_SH_DEGREE, f"sh_degree is {degree}, expected 0 to {MAX_SH_DEGREE}"),
            (components <= 3 * ((degree + 1) ** 2 - 1), f"{components} SH components are too many for degree {degree}"),
            (count <= GAUSSIANS_PER_BYTE * (file_bytes + 1), f"claims {count} Gaussians, more than {file_bytes} bytes can hold"),
            (layer_count <= MAX_LAYERS and cuts <= MAX_REFINEMENT, f"{layer_count} layers with {cuts} refinements are too many"),
            (1 <= bits <= MAX_CELL_BITS, f"grid bits is {bits}, expected 1 to {MAX_CELL_BITS}"),
            (1 <= levels <= MAX_LEVELS, f"opacity levels is {levels}, expected 1 to {MAX_LEVELS}"),
            (all(math.isfinite(value) for value in reals), "a number is not finite"),
        )
        for fits, message in bounds:
            if not fits:
                raise ExgsError(message)
        x, y, z, radius, a, b, c, cell, pixel, scale, rotation, colour, sh, position_bits, trade, _ = reals
        grid = Grid((x, y, z), radius, (a, b, c), cell, bits, refinement)
        steps = Steps(position_bits, scale, rotation, levels, colour, sh, trade)
        return _Head(degree, components, layers[: max(whole, 1)], grid, pixel, steps)


def _section(container: Container, section: str) -> memoryview:
    if section in container.lacking:
        raise ExgsError("is incomplete")
    if section not in container.sections:
        raise ExgsError("is missing")
    return container.sections[section]


def _notes(data: bytes | memoryview) -> dict[str, Any]:
    inflater = zlib.decompressobj()
    try:
        notes = json.loads(inflater.decompress(data, MAX_NOTES))
    except (zlib.error, ValueError, RecursionError) as error:
        raise ExgsError(f"is not the JSON that was expected ({error})") from error
    if not inflater.eof or not isinstance(notes, dict):
        raise ExgsError("is not one JSON object")
    return notes


def _tables(data: bytes | memoryview, head: _Head) -> tuple[NDArray[np.int8], list[Model]]:
    rest = 3 * (SH_COEFFICIENTS[head.sh_degree] - 1)
    number, basis_bytes = SH + head.components if head.components else ACTIVE, head.components * rest
    limit = basis_bytes + tables_bytes_limit(number)
    inflater = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        plain = inflater.decompress(data, max_length=limit)
    except lzma.LZMAError as error:
        raise ExgsError(f"is damaged ({error})") from error
    if not inflater.eof or len(plain) < basis_bytes:
        raise ExgsError("has the wrong size")
    basis = np.frombuffer(plain, np.int8, basis_bytes).reshape(head.components, rest)
    return basis, unpack_models(plain[basis_bytes:], number)
