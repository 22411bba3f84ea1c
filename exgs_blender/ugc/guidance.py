# SPDX-License-Identifier: GPL-3.0-or-later
"""What an .exgs file tells the painter, as the one line of text that travels with a cloud. Standard library only."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

NOTE = "painter"
"""Name in the notes of an .exgs file."""
DIGITS = 5


@dataclass(frozen=True)
class Guidance:
    """How the frames of a cloud are to be restored.

    Attributes:
        refitted: the compressor fitted what it kept to the views; without a mix, a painter cannot know better.
        mix: coefficients of ``painter.basis.maps``, fitted to the scene; empty where there are none.
        checkpoint: identity of the weights that the mix was fitted with; with others it is not used.
    """

    refitted: bool = False
    mix: tuple[float, ...] = ()
    checkpoint: str = ""

    @classmethod
    def parse(cls, text: str) -> Guidance:
        """From the text that :meth:`text` wrote; anything else says nothing."""
        try:
            return cls.from_note(json.loads(text))
        except ValueError:
            return cls()

    @classmethod
    def from_note(cls, note: Any) -> Guidance:
        """From the note in a file, which may be anything: what does not fit says nothing."""
        if not isinstance(note, dict):
            return cls()
        mix, checkpoint = note.get("mix", []), note.get("checkpoint", "")
        whole = isinstance(mix, list) and all(isinstance(x, int | float) and math.isfinite(x) for x in mix)
        if not whole or not isinstance(checkpoint, str):
            return cls(refitted=note.get("refitted") is True)
        return cls(note.get("refitted") is True, tuple(float(x) for x in mix), checkpoint)

    def note(self) -> dict[str, Any]:
        """JSON values for a file's notes."""
        mix = {"mix": [float(f"{x:.{DIGITS}g}") for x in self.mix], "checkpoint": self.checkpoint} if self.mix else {}
        return {"refitted": self.refitted, **mix}

    def text(self) -> str:
        """One line; empty where there is nothing to say."""
        return json.dumps(self.note(), separators=(",", ":")) if self != Guidance() else ""


def together(texts: Iterable[str]) -> str:
    """Guidance for several clouds in one frame: theirs if they agree; else only whether one of them was re-fitted."""
    distinct = set(texts)
    if len(distinct) <= 1:
        return next(iter(distinct), "")
    return Guidance(refitted=any(Guidance.parse(text).refitted for text in distinct)).text()
