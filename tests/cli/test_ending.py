"""What ends commands from outside: readers that go, full disks, interruptions."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from furiosa_ep.cli.ending import exit_code
from furiosa_ep.cli.selftest import tiny_model

COMMAND = [sys.executable, "-m", "furiosa_ep.cli"]


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.onnx"
    onnx.save(tiny_model(), path)
    return str(path)


def warnings(command: str, model: str) -> str:
    """What a command says of plugins that are installed, however it ends."""
    return subprocess.run([*COMMAND, command, model], capture_output=True, text=True).stderr


@pytest.mark.parametrize("command", ["explain", "estimate"])
def test_a_reader_that_has_gone_is_no_reason_to_complain(model: str, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, command, model], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, warnings(command, model))


def test_a_full_disk_is_said(model: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "estimate", model], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    said = "furiosa: cannot write: [Errno 28] No space left on device\n"
    assert done.stderr == warnings("estimate", model) + said


def test_a_terminal_without_unicode(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.node[3].name = "Faltung für Größe"
    onnx.save(model, tmp_path / "model.onnx")
    done = subprocess.run(
        [*COMMAND, "explain", str(tmp_path / "model.onnx")],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert "Faltung f?r Gr??e" in done.stdout


def test_an_interrupted_command_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert exit_code("furiosa", interrupted) == 130
    assert capsys.readouterr() == ("", "")


def test_what_is_no_matter_of_writing_stays_a_defect() -> None:
    def broken() -> int:
        raise OSError(errno.EBADF, "what is that?")

    with pytest.raises(OSError, match="what is that"):
        exit_code("furiosa", broken)
