# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that waits for a GPU walks its whole way on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_dry_run(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--output", str(tmp_path), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert set(results) == {"device", "parity", "speed"}
    assert results["parity"]["worst_db"] > 80
    assert results["speed"]["cpu_ms"] > 0
