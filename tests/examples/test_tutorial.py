"""docs/plugins/tutorial.md, with the plugin installed that it writes."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.examples.installation import ROOT, run

PAGE = (ROOT / "docs" / "plugins" / "tutorial.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "line", [x for block in blocks("sh") for x in block.splitlines() if x.startswith("furiosa ")]
)
def test_commands_work(line: str, plugins: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "furiosa_ep.cli", *shlex.split(line)[1:]]
    done = run(command, plugins, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_program_prints_what_the_tutorial_says(plugins: Path, tmp_path: Path) -> None:
    (program,) = blocks("python")
    done = run([sys.executable, "-c", program], plugins, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    peaks = [float(one) for one in re.findall(r"\d\.\d*", done.stdout.partition("]")[0])]
    assert len(peaks) == 5
    assert all(abs(peak - 2) <= 0.02 for peak in peaks)
    assert re.search(r"PeakNormalize +NPU 0 +by hello-kernel", done.stdout)
