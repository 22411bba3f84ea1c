# SPDX-License-Identifier: GPL-3.0-or-later
"""What restoration does to frames of pruned scenes; see ``python -m benchmarks.painter --help``."""
