# SPDX-License-Identifier: GPL-3.0-or-later
"""The heavy work in a process of its own: protocol, client (for Blender), jobs and render server (for the worker)."""
