# SPDX-License-Identifier: GPL-3.0-or-later
"""GaussPainter: one-step latent diffusion that repairs renders of pruned scenes.

``restore.Painter`` is what the rest of the program uses; ``pipeline.GaussPainterPipeline`` is the same for users of
diffusers; ``pairs`` and ``train`` make a checkpoint. Importing this package needs neither torch nor diffusers.
"""

from __future__ import annotations

from .restore import Painter, default_weights

__all__ = ["Painter", "default_weights"]
