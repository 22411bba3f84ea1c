# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry script of the worker, run by path: ``python -I launch.py job`` or ``python -I launch.py server``.

It loads its own parent folder as the package ``exgs_blender``, so that an installed extension (whose
folder has another name and lies in no search path) and a checkout both work.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

PACKAGE = "exgs_blender"


def load_package() -> None:
    """Import the package around this file under its own name."""
    root = Path(__file__).resolve().parents[1]
    spec = importlib.util.spec_from_file_location(PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)])
    if spec is None or spec.loader is None:
        raise SystemExit(f"{root}: not the ExGS package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    load_package()
    kind = sys.argv[1] if len(sys.argv) > 1 else "job"
    sys.exit(importlib.import_module(f"{PACKAGE}.worker.{'server' if kind == 'server' else 'run_job'}").main())
