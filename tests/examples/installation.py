"""Plugins, installed into a folder and used by processes of their own."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def install(packages: Iterable[Path], target: Path) -> Path:
    """Install packages, without what they depend on, into a folder to be put on PYTHONPATH."""
    pytest.importorskip("scikit_build_core")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(target)]
    done = run([*command, *map(str, packages)])
    assert done.returncode == 0, done.stderr
    return target


def installed_once(
    packages: Iterable[Path], name: str, factory: pytest.TempPathFactory, worker: str
) -> Path:
    """Like `install`, once for all processes of a test run."""
    own = factory.getbasetemp()
    shared = own if worker == "master" else own.parent
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target = shared / name
        if not target.exists():
            install(packages, target)
    return target


def run(
    command: Sequence[str], *places: Path, folder: Path | None = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command with more places on PYTHONPATH, and with more environment variables."""
    path = [*map(str, places), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
