# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's lines for Blender, as they stand there, in a folder with a capture and its cameras."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from exgs_blender.blender.render_session import SESSION
from exgs_blender.cameras import write_cameras
from exgs_blender.cameras.trajectories import extent_of, orbit

from . import stage


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    stage.start()
    stage.write_capture(str(folder))
    write_cameras(folder / "cameras.json", orbit(extent_of(stage.ball()), 2, width=256, height=192))
    blocks = re.findall(r"```python\n(.*?)```", Path(request["readme"]).read_text(encoding="utf-8"), re.DOTALL)
    lines = next(block for block in blocks if block.startswith("import bpy"))
    os.chdir(folder)
    exec(compile(lines, "README.md", "exec"), {})
    SESSION.close()
    return {"lines": len([line for line in lines.splitlines() if line.strip()])}
