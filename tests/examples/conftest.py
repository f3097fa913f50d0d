"""Installed examples."""

from pathlib import Path

import pytest

from furiosa_ep.cli.plugins.new import write
from tests.examples.installation import EXAMPLES, installed_once


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where the working examples are installed, and a plugin with a kernel in NumPy."""
    written = write(tmp_path_factory.mktemp("written"), "numpy-kernel", "numpy")
    packages = [*EXAMPLES.glob("furiosa-ep-*"), written]
    return installed_once(packages, "plugins", tmp_path_factory, worker_id)


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Where the broken examples are installed."""
    packages = (path.parent for path in EXAMPLES.glob("broken/*/pyproject.toml"))
    return installed_once(packages, "broken", tmp_path_factory, worker_id)
