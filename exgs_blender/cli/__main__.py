# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m exgs_blender.cli``."""

import sys

from . import main

sys.exit(main())
