# SPDX-License-Identifier: GPL-3.0-or-later
"""Every test that docs/peers-tests.md names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_names_tests_that_exist() -> None:
    path, checked = None, 0
    for word in re.findall(r"`([^`]+)`", (ROOT / "docs" / "peers-tests.md").read_text(encoding="utf-8")):
        file, _, function = word.partition("::")
        path = ROOT / file if file else path  # "::name" is in the file that was named before
        assert path is not None, word
        assert path.is_file(), word
        assert not function or f"def {function}(" in path.read_text(encoding="utf-8"), word
        checked += 1
    assert checked > 10
