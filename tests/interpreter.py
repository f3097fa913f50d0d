"""Python programs of their own, such as those that take plugins from a folder."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_program(
    code: str, *arguments: str, folders: Iterable[Path] = (), **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Runs code in a new interpreter, which finds modules in `folders`, too."""
    path = os.pathsep.join([*map(str, folders), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
