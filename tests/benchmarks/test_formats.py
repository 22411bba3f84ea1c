# SPDX-License-Identifier: GPL-3.0-or-later
"""What the formats' benchmark computes; its times and its memory are of no use here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.formats import field_errors
from tests.clouds import random_gaussians


def test_errors_of_fields() -> None:
    cloud = random_gaussians(200, 2)
    assert all(found is not None and max(found) < 1e-4 for found in field_errors(cloud, cloud).values())
    moved = replace(cloud, means=cloud.means + np.float32(0.001), scales=cloud.scales + np.float32(np.log(1.5)))
    found = {name: row[0] for name, row in field_errors(cloud, moved).items() if row}
    np.testing.assert_allclose([found["position"], found["shape, %"], found["size, %"], found["SH"]], [0.001, 50, 50, 0], rtol=1e-3)
    assert field_errors(cloud, cloud, renamed_axes=True)["rotation, degrees"] is None
