"""Runs `furiosactl` as a user does."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import yaml

COMMAND = [sys.executable, "-m", "furiosa_ep.furiosactl"]


def furiosactl(
    *arguments: str, code: int = 0, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What it does, which must end with this exit code and without a traceback."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done


def cells(text: str) -> list[list[str]]:
    """The rows of a table without the header."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ][1:]


def header(text: str) -> list[str]:
    """The header of a table."""
    return [cell.strip() for cell in text.splitlines()[1].strip("|").split("|")]


def records(*arguments: str) -> list[dict[str, Any]]:
    """What it says in JSON, which YAML says too."""
    found: list[dict[str, Any]] = json.loads(furiosactl(*arguments, "--format", "json").stdout)
    assert yaml.safe_load(furiosactl(*arguments, "--format", "yaml").stdout) == found
    return found
