# SPDX-License-Identifier: GPL-3.0-or-later
"""Splat files in and out: one module per format, found by the registry."""

from .registry import Format, format_of, formats, read, readable_suffixes, writable_suffixes, write, writer_for

__all__ = ["Format", "format_of", "formats", "read", "readable_suffixes", "writable_suffixes", "write", "writer_for"]
