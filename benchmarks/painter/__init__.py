# SPDX-License-Identifier: GPL-3.0-or-later
"""What restoration does to frames of pruned scenes; see ``python -m benchmarks.painter --help``."""

from exgs_blender.threads import sleep_while_waiting

sleep_while_waiting()  # as the product does, and before torch is loaded
