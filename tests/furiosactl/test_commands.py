"""furiosactl beside processes that hold and run devices."""

import itertools
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from furiosa_ep import devices
from furiosa_ep.devices import Fault
from furiosa_ep.furiosactl import top
from furiosa_ep.furiosactl.formats import table
from furiosa_ep.furiosactl.main import main
from tests.device_emulator.other_process import holder
from tests.device_emulator.working_process import WorkingProcess
from tests.furiosactl.running import COMMAND, cells, furiosactl, header, records


@pytest.fixture
def two_cards(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", "2")


@pytest.fixture
def own_cards(
    host: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cards") / "cards.toml"
    path.write_text(
        '[[device]]\nserial = "ONE"\nfirmware = "2.0, beta"\nambient_celsius = 46\n[[device]]\n'
    )
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", str(path))


def test_info_shows_cards(own_cards: None) -> None:
    text = furiosactl("info").stdout
    assert header(text) == ["NPU", "Name", "Firmware", "Temp.", "Power", "PCI-BDF"]
    assert cells(text) == [
        ["npu0", "warboy", "2.0, beta", "47°C", "1.00 W", "0000:01:00.0"],
        ["npu1", "warboy", "1.7.8", "26°C", "1.00 W", "0000:02:00.0"],
    ]


def test_info_says_the_same_in_all_formats(own_cards: None) -> None:
    found = records("info")
    assert found == records("info", "--full")
    assert list(found[0]) == [
        *["dev_name", "product_name", "device_uuid", "device_sn", "firmware", "temperature"],
        *["power", "clock", "pci_bdf", "pci_dev"],
    ]
    full = furiosactl("info", "--full").stdout
    order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert cells(full) == [[list(one.values())[i] for i in order] for one in found]
    assert header(full)[2:4] == ["UUID", "S/N"]
    device = devices.list_devices()[0]
    assert found[0]["device_uuid"] == device.device_uuid
    assert found[0]["device_sn"] == "ONE"
    assert found[0]["pci_dev"] == device.pci_dev


def test_list_shows_who_occupies_cores(two_cards: None) -> None:
    with WorkingProcess("npu0pe1"), WorkingProcess("npu1pe0-1"):
        text = furiosactl("list").stdout
        found = records("list")
    assert header(text) == ["NPU", "Cores", "DEVFILES"]
    assert cells(text) == [
        [
            "npu0",
            "0 (available), 1 (occupied by npu0pe1)",
            "npu0, npu0pe0, npu0pe1, npu0pe0-1",
        ],
        [
            "npu1",
            "0 (occupied by npu1pe0-1), 1 (occupied by npu1pe0-1)",
            "npu1, npu1pe0, npu1pe1, npu1pe0-1",
        ],
    ]
    for row, one in zip(cells(text), found, strict=True):
        assert row[0] == one["dev_name"]
        assert row[2] == ", ".join(one["dev_files"])
        for core in one["cores"]:
            by = "".join(f" by {name}" for name in core["occupied_by"])
            assert f"{core['core']} ({core['status']}{by})" in row[1]


def test_list_shows_one_that_has_failed(host: str) -> None:
    devices.inject("dma-error", "npu0pe0")
    with WorkingProcess("npu0pe0") as work:
        assert work.run(1) == "DmaError"
    assert "0 (available, dma-error), 1 (available)" in furiosactl("list").stdout
    assert records("list")[0]["cores"][0]["health"] == "dma-error"
    devices.inject("lost", "npu0pe1", times=None)
    assert "1 (unavailable)" in furiosactl("list").stdout


def test_ps_shows_processes_until_they_end(two_cards: None) -> None:
    assert records("ps") == []
    assert cells(furiosactl("ps").stdout) == []
    with WorkingProcess("npu0pe1") as one, WorkingProcess("npu0pe0,npu1") as other:
        text = furiosactl("ps").stdout
        found = records("ps")
        assert header(text) == ["NPU", "PID", "CMD"]
        assert cells(text) == [[str(value) for value in row.values()] for row in found]
        assert [(row["dev_file"], row["pid"]) for row in found] == [
            ("npu0pe0", other.pid),
            ("npu0pe1", one.pid),
            ("npu1pe0-1", other.pid),
        ]
        assert found[1]["cmd"].endswith("working_process npu0pe1")
        one.kill()
        assert [row["pid"] for row in records("ps")] == [other.pid, other.pid]


def test_ps_shows_all_who_share(host: str) -> None:
    with holder(shared=True) as one, holder(shared=True) as other:
        assert {row["pid"] for row in records("ps")} == {one.pid, other.pid}
        assert "0 (occupied by npu0pe0)" in furiosactl("list").stdout


def test_looking_does_not_occupy(host: str) -> None:
    with WorkingProcess("npu0") as work:
        for command in ("info", "list", "ps", "inject", "version"):
            furiosactl(command)
            assert [one.pid for one in devices.clients()] == [work.pid]
    with subprocess.Popen([*COMMAND, "top", "--interval", "50"], stdout=subprocess.PIPE) as top:
        assert top.stdout is not None
        top.stdout.readline()
        assert devices.clients() == []
        with devices.open("npu0"):
            pass
        top.terminate()


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


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("arguments", [["info"], ["top", "--interval", "10"]])
def test_a_reader_that_has_gone_is_no_reason_to_complain(
    host: str, closed_pipe: int, arguments: list[str]
) -> None:
    done = subprocess.run(
        [*COMMAND, *arguments], stdout=closed_pipe, stderr=subprocess.PIPE, timeout=60
    )
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_is_said(host: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, "info"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "furiosactl: cannot write: [Errno 28] No space left on device\n"


def test_without_standard_output_nothing_goes_wrong(host: str) -> None:
    command = f"{sys.executable} -m furiosa_ep.furiosactl info >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_unicode(host: str) -> None:
    environment = {"PYTHONIOENCODING": "ascii"}
    assert "26?C" in furiosactl("info", environment=environment).stdout
    text = furiosactl("info", "--format", "json", environment=environment).stdout
    assert json.loads(text)[0]["temperature"] == "26°C"


def test_injected_faults_strike_and_are_shown(host: str) -> None:
    text = furiosactl("inject", "npu0pe1", "hang", "--times", "2").stdout
    assert header(text) == ["NPU", "Fault", "Times", "Struck"]
    assert cells(text) == [["npu0pe1", "hang", "2", "0"]]
    with WorkingProcess("npu0pe1") as work:
        assert work.run(1) == "DeviceTimeout"
    found = records("inject")
    assert found == [{"dev_file": "npu0pe1", "fault": "hang", "times": 1, "struck": 1}]
    text = furiosactl("inject", "npu0", "ecc-corrected", "--until-cleared").stdout
    assert ["npu0pe0", "ecc-corrected", "until cleared", "0"] in cells(text)
    assert {one["times"] for one in records("inject") if one["fault"] == "ecc-corrected"} == {None}
    assert cells(furiosactl("inject", "--clear").stdout) == [["npu0pe1", "hang", "0", "1"]]


def test_faults_of_one_device_are_cleared(host: str) -> None:
    furiosactl("inject", "npu0", "lost")
    assert cells(furiosactl("inject", "npu0pe0", "--clear").stdout) == [
        ["npu0pe1", "lost", "1", "0"]
    ]


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_can_be_injected(host: str, fault: Fault) -> None:
    furiosactl("inject", "npu0pe0", fault)
    assert dict(devices.list_devices()[0].status()[0].armed) == {fault: 1}


def test_reset_makes_a_device_work_again(host: str) -> None:
    furiosactl("inject", "npu0pe0", "ecc-uncorrected")
    with WorkingProcess("npu0pe0") as work:
        assert work.run(1) == "EccError"
        assert work.run(1) == "EccError"
        text = furiosactl("reset", "npu0").stdout
        assert header(text) == ["NPU", "Health", "Resets"]
        assert cells(text) == [["npu0pe0", "good", "1"], ["npu0pe1", "good", "1"]]
        assert work.run(1) == "done"
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        found = read(furiosactl("reset", "npu0pe0", "--format", form).stdout)
        resets = 2 if form == "json" else 3
        assert found == [
            {"dev_file": "npu0pe0", "health": "good", "resets": resets},
            {"dev_file": "npu0pe1", "health": "good", "resets": 1},
        ]


def test_overheating_is_seen(host: str) -> None:
    furiosactl("inject", "npu0", "overheat", "--until-cleared")
    (found,) = records("info")
    assert (found["temperature"], found["clock"]) == ("100°C", "1000 MHz")


def test_versions(host: str) -> None:
    text = furiosactl("version").stdout
    assert cells(text) == [list(one.values()) for one in records("version")]
    assert [row[0] for row in cells(text)] == ["furiosactl", "libfuriosa_ep", "driver"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["infos"], "invalid choice: 'infos'"),
        (["info", "--format", "xml"], "'xml': expected one of table, json, yaml"),
        (["info", "npu0"], "unrecognized arguments: npu0"),
        (["top", "--interval", "0"], "'0': expected an integer from 10 to 3600000"),
        (["top", "--interval", "1e3"], "'1e3': expected an integer"),
        (["top", "--count", "-1"], "'-1': expected an integer from 1"),
        (["inject", "npu0"], "expected DEVICE FAULT"),
        (["inject", "npu0", "fire"], "invalid choice: 'fire' (choose from "),
        (["inject", "npu0", "hang", "--times", "two"], "'two': expected an integer from 1 to 1022"),
        (["inject", "--times", "2"], "expected DEVICE FAULT"),
        (["inject", "npu0", "hang", "--times", "0"], "'0': expected an integer from 1 to 1022"),
        (["inject", "npu0", "hang", "--times", "2", "--clear"], "not allowed with argument"),
        (["inject", "npu0", "hang", "--clear"], "leave out the fault"),
        (["reset"], "the following arguments are required: DEVICE"),
    ],
)
def test_usage_errors(host: str, arguments: list[str], message: str) -> None:
    assert message in furiosactl(*arguments, code=2).stderr
    assert not any(one.armed for one in devices.list_devices()[0].status())


@pytest.mark.parametrize("command", [["reset"], ["inject"], ["inject", "--clear"]])
@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("npu7", "npu7: there are npu0"),
        ("npu0pe2", "npu0pe2: there are npu0"),
        ("disk0", "expected 'npu'"),
        ("npu0,", "npu"),
        ("", "device spec '': expected 'npu'"),
        ("warboy*1", "warboy*1: name the device"),
    ],
)
def test_unknown_devices(host: str, command: list[str], device: str, message: str) -> None:
    fault = ["hang"] if command == ["inject"] else []
    done = furiosactl(*command, device, *fault, code=1)
    assert done.stderr.startswith("furiosactl: ")
    assert message in done.stderr
    assert done.stdout == ""
    assert not any(one.armed or one.resets for one in devices.list_devices()[0].status())


@pytest.mark.parametrize("command", ["info", "list", "ps", "top", "inject"])
def test_a_broken_state_file_is_named(host: str, command: str) -> None:
    (Path(host) / "state.v1").write_bytes(b"no state")
    done = furiosactl(command, code=1)
    assert "state.v1 is no state of emulated devices: it has 8 bytes" in done.stderr
    assert "delete it" in done.stderr
    assert done.stdout == ""


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    where = {"FURIOSA_EMULATED_HOST": str(tmp_path / "file" / "host")}
    assert "FURIOSA_EMULATED_HOST" in furiosactl("info", code=1, environment=where).stderr
    number = {"FURIOSA_EMULATED_DEVICES": "many"}
    assert "FURIOSA_EMULATED_DEVICES" in furiosactl("list", code=1, environment=number).stderr
    library = {"FURIOSA_EP_LIBRARY": str(tmp_path / "none.so")}
    assert "no native library" in furiosactl("version", code=1, environment=library).stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_directory_of_somebody_else(host: str) -> None:
    furiosactl("info")
    Path(host).chmod(0o700)
    program = (  # which imports all it needs before it may not
        "import os, sys; from furiosa_ep.furiosactl.main import main; "
        "main(['version']); os.setuid(65534); sys.exit(main(['info']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Temp." not in done.stdout
    assert "ermission denied; set $FURIOSA_EMULATED_HOST to use another directory" in done.stderr


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


def test_it_starts_without_numpy(host: str) -> None:
    program = (
        "import sys; from furiosa_ep.furiosactl.main import main; assert main(['info']) == 0; "
        "assert main(['top', '--count', '1', '--interval', '10']) == 0; "
        "assert not {'numpy', 'onnx', 'onnxruntime', 'asyncio'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE)
