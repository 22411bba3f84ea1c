# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers hold, the package imports bare, sources name no machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "exgs_blender"


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_layers_are_kept() -> None:
    done = _run(sys.executable, "-c", "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)], ids=lambda c: " ".join(c))
def test_style_and_types(command: tuple[str, ...]) -> None:
    done = _run(sys.executable, "-m", *command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_without_bpy_and_heavy_packages() -> None:
    """Blender's Python has numpy and plyfile only; the client, the formats and .exgs must import there."""
    code = """
import sys
blocked = ("bpy", "torch", "numba", "gsplat", "diffusers", "PIL", "zstandard", "OpenEXR", "tqdm")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Block())
import exgs_blender
import exgs_blender.worker.client, exgs_blender.formats, exgs_blender.cameras, exgs_blender.ugc.pipeline
assert exgs_blender.formats.formats()
assert not any(name in sys.modules for name in blocked)
"""
    done = _run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


def test_file_lengths() -> None:
    """About 300 lines a file; what is longer is on the list with its reason."""
    allowed: dict[str, str] = {}
    long = {str(p.relative_to(ROOT)): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 330}
    assert set(long) <= set(allowed), long


def test_no_machine_in_the_sources() -> None:
    """No absolute home or work path, no package host."""
    pattern = re.compile(r"/work/|/root/|/home/\w+/|https?://(?:pypi|files\.pythonhosted|registry\.npmjs|download\.pytorch)")
    listed = _run("git", "ls-files").stdout.split()
    own = Path(__file__).resolve()
    found = [
        name
        for name in listed
        if (ROOT / name).suffix in (".py", ".md", ".toml", ".json", ".txt", ".lock", "")
        and (ROOT / name).is_file()
        and (ROOT / name).resolve() != own
        and pattern.search((ROOT / name).read_text(errors="replace"))
    ]
    assert not found
