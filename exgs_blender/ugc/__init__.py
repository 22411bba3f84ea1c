# SPDX-License-Identifier: GPL-3.0-or-later
"""Universal Gaussian Compression: pure functions on arrays. Encoding and decoding need numpy and the standard library only."""

from .pipeline import Asset, CompressResult, CompressSettings, compress, decompress

__all__ = ["Asset", "CompressResult", "CompressSettings", "compress", "decompress"]
