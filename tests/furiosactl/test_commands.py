"""furiosactl info, list, ps and version beside processes that hold and run devices."""

import subprocess
import sys

import pytest

from furiosa_ep import devices
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


def test_versions(host: str) -> None:
    text = furiosactl("version").stdout
    assert cells(text) == [list(one.values()) for one in records("version")]
    assert [row[0] for row in cells(text)] == ["furiosactl", "libfuriosa_ep", "driver"]


def test_it_starts_without_numpy(host: str) -> None:
    program = (
        "import sys; from furiosa_ep.furiosactl.main import main; assert main(['info']) == 0; "
        "assert main(['top', '--count', '1', '--interval', '10']) == 0; "
        "assert not {'numpy', 'onnx', 'onnxruntime', 'asyncio'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE)
