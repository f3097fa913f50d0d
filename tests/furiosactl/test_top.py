"""furiosactl top beside processes that run devices."""

import itertools
import json
import signal
import subprocess
from typing import Any

import pytest
import yaml

from furiosa_ep.furiosactl import top
from furiosa_ep.furiosactl.main import main
from tests.device_emulator.working_process import WorkingProcess
from tests.furiosactl.running import COMMAND, furiosactl


def rows_of_table(text: str) -> list[dict[str, Any]]:
    title, names, *lines = text.splitlines()
    assert title == "Ctrl-C ends this."
    assert names.split() == [
        *["Datetime", "PID", "Device", "NPU(%)", "Comp(%)", "I/O(%)", "Command"]
    ]
    keys = ("datetime", "pid", "device", "npu", "comp", "io", "command")
    kinds = (str, int, str, float, float, float, str)
    return [
        {key: kind(word) for key, kind, word in zip(keys, kinds, line.split(None, 6), strict=True)}
        for line in lines
    ]


READERS = {
    "table": rows_of_table,
    "json": lambda text: [json.loads(line) for line in text.splitlines()],
    "yaml": yaml.safe_load,
}


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("device", ["npu0pe1", "npu0pe0-1"])
def test_top_shows_what_processes_do(
    host: str,
    form: str,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = itertools.count(7000, 0.1)  # of looks, between which the process runs
    times = iter((3, 20))
    with WorkingProcess(device) as work:
        monkeypatch.setattr(top, "monotonic", lambda: next(clock))
        monkeypatch.setattr(top, "wait", lambda milliseconds: work.run(next(times)))
        assert main(["top", "--count", "2", "--format", form]) == 0
    rows = READERS[form](capsys.readouterr().out)
    assert [row["npu"] for row in rows] == [30, 100]  # 10 ms of the device's time each
    for row in rows:
        assert list(row) == ["datetime", "pid", "device", "npu", "comp", "io", "command"]
        assert (row["pid"], row["device"]) == (work.pid, device)
        assert (row["comp"], row["io"]) == (75, 25)
        assert row["command"].endswith(f"working_process {device}")
        assert row["datetime"].startswith("20")
        assert row["datetime"].endswith("Z")


def test_top_shows_a_process_that_does_nothing(host: str) -> None:
    with WorkingProcess("npu0pe0") as work:
        text = furiosactl("top", "--interval", "10", "--count", "1", "--format", "json").stdout
    found = json.loads(text)
    assert (found["pid"], found["npu"], found["comp"], found["io"]) == (work.pid, 0, 0, 0)


def interruptible() -> None:
    """What is started in the background of a shell ignores interruptions, as do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_top_ends_on_interruption(host: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "top"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Ctrl-C ends this.\n"
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate()[1] == ""
        assert process.returncode == 0


def test_top_ends_when_nobody_reads_though_there_is_nothing_to_show(host: str) -> None:
    with subprocess.Popen([*COMMAND, "top"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 141
