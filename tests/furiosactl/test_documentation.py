"""docs/furiosactl.md: every example runs, and shows what it says."""

import re
import shlex
from pathlib import Path

import pytest

from furiosa_ep.device_emulator.devices import thermal
from furiosa_ep.furiosactl.main import COMMANDS
from tests.device_emulator.working_process import WorkingProcess
from tests.furiosactl.running import furiosactl

TEXT = (Path(__file__).parents[2] / "docs/furiosactl.md").read_text()
EXAMPLES = [
    (command, output)
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.S)
    for command, output in re.findall(r"^\$ furiosactl (.*)\n((?:[^$].*\n)*)", block, re.M)
]


def test_every_example_shows_what_it_says(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", "2")
    assert len(EXAMPLES) > 10
    with WorkingProcess("npu0pe0-1") as work:
        for command, expected in EXAMPLES:
            assert work.run(0) == "done"
            found = furiosactl(*shlex.split(command)).stdout
            if command.startswith(("ps", "top")) and expected:
                columns = [
                    [line.split() for line in text.splitlines() if "PID" in line]
                    for text in (expected, found)
                ]
                assert columns[0] == columns[1], command
                assert "npu0pe0-1" in found
            elif expected:
                assert found == expected, command


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_has_a_section_and_an_example(command: str) -> None:
    assert f"\n## {command}\n" in TEXT
    assert any(example.split()[0] == command for example, _ in EXAMPLES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("idle power", f"{thermal.IDLE_WATTS:g} W"),
        ("thermal resistance", f"{thermal.THERMAL_RESISTANCE:g} K/W"),
        ("time constant", f"{thermal.TIME_CONSTANT:g} s"),
        ("throttled above", f"{thermal.THROTTLE_CELSIUS:g} °C"),
        ("resumes at", f"{thermal.RESUME_CELSIUS:g} °C"),
        ("throttled clock", f"{2 * thermal.THROTTLED_PERMILLE / 1000:g} GHz"),
    ],
)
def test_parameters_of_the_model_are_documented(name: str, value: str) -> None:
    assert f"\n| {name} | {value} |" in TEXT
