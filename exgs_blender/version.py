# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of ExGS, for whoever must not import the package's face."""

from __future__ import annotations

__version__ = "0.1.0"
