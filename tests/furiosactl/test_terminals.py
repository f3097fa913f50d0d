"""What furiosactl writes to terminals."""

import json
import os
import pty
import subprocess
import sys

from furiosa_ep.furiosactl.formats import table
from tests.device_emulator.working_process import WorkingProcess
from tests.furiosactl.running import COMMAND, furiosactl, records


def test_a_terminal_without_unicode(host: str) -> None:
    environment = {"PYTHONIOENCODING": "ascii"}
    assert "26?C" in furiosactl("info", environment=environment).stdout
    text = furiosactl("info", "--format", "json", environment=environment).stdout
    assert json.loads(text)[0]["temperature"] == "26°C"


def test_a_command_cannot_write_to_the_terminal_what_it_likes(host: str) -> None:
    program = (
        "import sys; from furiosa_ep import devices\n"
        "with devices.open('npu0pe0'): print('ready', flush=True); sys.stdin.read()"
    )
    strange = "\x1b[31m \x9b2J é \x7f"
    with subprocess.Popen(
        [sys.executable, "-c", program, strange], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        text = furiosactl("ps").stdout
        assert all(one.isprintable() for line in text.splitlines() for one in line)
        assert "é" in text
        assert "é" in records("ps")[0]["cmd"]
        process.communicate()


def in_terminal(columns: int, *arguments: str) -> list[str]:
    """The lines of what is seen in a terminal of that width."""
    reading, writing = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns)}
    with subprocess.Popen(
        [*COMMAND, *arguments], stdin=writing, stdout=writing, stderr=writing, env=environment
    ) as process:
        os.close(writing)
        found = b""
        try:
            while part := os.read(reading, 4096):
                found += part
        except OSError:  # the end, of a terminal
            pass
        assert process.wait(timeout=60) == 0
    os.close(reading)
    return found.decode().splitlines()


def test_commands_are_cut_where_a_terminal_ends(host: str) -> None:
    with WorkingProcess("npu0pe0") as work:
        (record,) = records("ps")
        assert {len(line) for line in in_terminal(60, "ps")} == {60}
        *_, row, _ = in_terminal(60, "ps")
        shown = row.strip("|").split("|")[2].strip()
        assert shown.endswith("…")
        assert record["cmd"].startswith(shown[:-1])
        assert in_terminal(1000, "ps") == furiosactl("ps").stdout.splitlines()
        assert f"| {work.pid} |" in in_terminal(40, "ps")[3]
        for columns in (40, 110):
            *_, row = in_terminal(columns, "top", "--count", "1", "--interval", "10")
            facts, _, command = row.rpartition("   ")
            assert facts.split()[1:] == [str(work.pid), "npu0pe0", "0.00", "0.00", "0.00"]
            assert len(row) == max(columns, len(facts) + 3 + 12)
            assert record["cmd"].startswith(command[:-1])
            assert command.endswith("…")


def test_wide_characters_take_two_columns() -> None:
    text = table(["NPU", "CMD"], [["npu0", "모델"], ["npu1", "e\u0301t"]])
    assert text.splitlines() == [
        "+------+------+",
        "| NPU  | CMD  |",
        "+------+------+",
        "| npu0 | 모델 |",
        "| npu1 | e\u0301t   |",
        "+------+------+",
    ]
