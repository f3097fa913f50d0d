"""What furiosactl says of wrong arguments, broken hosts and readers that go."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from furiosa_ep import devices
from tests.furiosactl.running import COMMAND, furiosactl


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
