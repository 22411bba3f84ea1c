# SPDX-License-Identifier: GPL-3.0-or-later
"""The painter, loaded when the first frame needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..render.frame import Frame

if TYPE_CHECKING:
    from ..painter.restore import Painter


class Restorer:
    """Calls GaussPainter; torch and the checkpoint are loaded once, at the first use."""

    def __init__(self) -> None:
        self._painter: Painter | None = None
        self._checkpoint = ""

    def __call__(self, frame: Frame, keep_ratio: float, strength: float = 1.0, checkpoint: str = "", guidance: str = "") -> Frame:
        """The restored frame; ``checkpoint`` is a folder, or empty for the one in the package; ``guidance`` see there."""
        if self._painter is None or checkpoint != self._checkpoint:
            from ..painter.restore import Painter

            self._painter = Painter.load(Path(checkpoint) if checkpoint else None)
            self._checkpoint = checkpoint
        return self._painter.restore(frame, keep_ratio, strength, guidance)
