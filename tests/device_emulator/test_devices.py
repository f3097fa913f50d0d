"""Finding and holding devices, within a process and across processes."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from furiosa_ep import devices
from furiosa_ep.devices import CoreStatus, Hold
from tests.device_emulator.other_process import OtherProcess, holder

AVAILABLE, OCCUPIED = CoreStatus.AVAILABLE, CoreStatus.OCCUPIED


@pytest.fixture
def two_cards(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", "2")


def statuses() -> dict[str, CoreStatus]:
    return {one.name: one.status for device in devices.list_devices() for one in device.status()}


def names(found: list[devices.DeviceFile]) -> list[str]:
    return [file.name for file in found]


def in_a_child(body: Callable[[], None]) -> None:
    """Runs `body` in a forked process, which it must leave without an error."""
    child = os.fork()
    if child == 0:
        try:
            body()
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("npu1pe0", ["npu1pe0"]),
        ("npu:0:0-1", ["npu0pe0-1"]),
        ("npu1", ["npu1"]),
        ("warboy*3", ["npu0pe0", "npu0pe1", "npu1pe0"]),
        ("warboy(2)*2", ["npu0pe0-1", "npu1pe0-1"]),
        ("warboy*2,npu0pe0", ["npu0pe1", "npu1pe0", "npu0pe0"]),
        ("warboy(2)*1,npu0pe1", ["npu1pe0-1", "npu0pe1"]),
    ],
)
def test_named_ones_come_first_then_the_first_that_are_free(
    two_cards: None, spec: str, expected: list[str]
) -> None:
    assert names(devices.find(spec)) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("npu2", "npu2: there are npu0, npu0pe0"),
        ("npu0pe2", "npu0pe2: there are"),
        ("npu0pe1-2", "npu0pe1-2: there are"),
        ("warboy*5", "asks for 5 devices of mode single, there are 4"),
        ("warboy(2)*2,npu0pe1", "asks for 2 devices of mode fusion, there are 1"),
        ("npu0pe0,npu0pe0-1", "names npu0pe0 twice"),
        ("npu0,npu0pe1", "names npu0pe1 twice"),
    ],
)
def test_what_is_not_there_is_not_found(two_cards: None, spec: str, message: str) -> None:
    for look in (devices.find, devices.open):
        with pytest.raises(devices.DeviceNotFound, match=message):
            look(spec)


def test_the_argument_precedes_the_environment(
    two_cards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(devices.find()) == ["npu0pe0-1"]
    monkeypatch.setenv("NPU_DEVNAME", "npu0pe1")
    with pytest.warns(DeprecationWarning, match="FURIOSA_DEVICES=npu0pe1"):
        assert names(devices.find()) == ["npu0pe1"]
    monkeypatch.setenv("FURIOSA_DEVICES", "warboy*2")
    assert names(devices.find()) == ["npu0pe0", "npu0pe1"]
    assert names(devices.find("npu1")) == ["npu1"]
    monkeypatch.setenv("FURIOSA_DEVICES", "npu0p")
    with pytest.raises(
        devices.SpecError, match=r"\$FURIOSA_DEVICES: device spec 'npu0p': expected"
    ):
        devices.find()


def test_what_is_held_is_occupied_until_it_is_closed(host: str) -> None:
    assert set(statuses().values()) == {AVAILABLE}
    with devices.open("npu0pe1") as device:
        assert statuses() == {"npu0pe0": AVAILABLE, "npu0pe1": OCCUPIED}
        (client,) = devices.clients()
        assert client.pid == os.getpid()
        assert client.holds == {"npu0pe1": Hold.EXCLUSIVE}
        assert "pytest" in client.command or "python" in client.command
        with devices.open("npu0") as both:  # all of a process share what it holds
            assert set(statuses().values()) == {OCCUPIED}
        assert statuses() == {"npu0pe0": AVAILABLE, "npu0pe1": OCCUPIED}
    assert set(statuses().values()) == {AVAILABLE}
    for closed in (device, both):
        closed.close()
        with pytest.raises(devices.DeviceError, match="closed"):
            closed.detach()


def test_another_process_gets_device_busy(host: str) -> None:
    with devices.open("npu0pe0"):
        for spec in ("npu0pe0", "npu0", "npu0pe0-1", "warboy(2)*1", "warboy*2"):
            with OtherProcess(spec) as other:
                answer = other.answer()
            assert answer.startswith("DeviceBusy"), answer
            assert str(os.getpid()) in answer
        with OtherProcess("warboy*1") as other:
            assert other.answer() == "holds OpenDevice(npu0pe1)"


def test_holders_are_known_by_process_and_command(host: str) -> None:
    with holder("npu0pe1") as other:
        first, second = devices.list_devices()[0].status()
        assert (first.status, first.holders) == (AVAILABLE, ())
        assert second.status is OCCUPIED
        assert second.foreign
        assert second.exclusive
        assert [one.pid for one in second.holders] == [other.pid]
        assert "devices.open" in second.holders[0].command


def test_shared_devices_are_shared_across_processes(host: str) -> None:
    with devices.open_shared() as own, holder(shared=True):
        assert names(list(own.files)) == ["npu0pe0"]
        status = devices.list_devices()[0].status()[0]
        assert len(status.holders) == 2
        assert not status.exclusive
        with pytest.raises(devices.DeviceBusy):
            devices.open("npu0pe0")
    with devices.open("npu0pe0"):
        pass


def test_who_shares_goes_where_nobody_excludes_it(host: str) -> None:
    with holder("npu0pe0"):
        with devices.open_shared() as own:
            assert names(list(own.files)) == ["npu0pe1"]
        with pytest.raises(devices.DeviceBusy, match="npu0pe0 is held by"):
            devices.open_shared(pes=2)
    with holder("npu0"), pytest.raises(devices.DeviceBusy):
        devices.open_shared()


def test_cards_can_be_chosen_for_sharing(two_cards: None) -> None:
    with devices.open_shared(cards=[1, 0]) as both:
        assert names(list(both.files)) == ["npu1pe0", "npu0pe0"]
    with holder("npu1"):
        with devices.open_shared(cards=[1, 0]) as left:
            assert names(list(left.files)) == ["npu0pe0"]
        with pytest.raises(devices.DeviceBusy):
            devices.open_shared(cards=[1])
    with pytest.raises(devices.DeviceNotFound):
        devices.open_shared(cards=[2])


def test_a_process_that_is_killed_holds_nothing(host: str) -> None:
    with holder("npu0") as other:
        other.kill()
        assert set(statuses().values()) == {AVAILABLE}
        assert devices.clients() == []
        with devices.open("npu0"):
            pass


def test_waiting_for_a_device(host: str) -> None:
    with holder("npu0pe0") as other:
        start = time.monotonic()
        with pytest.raises(devices.DeviceBusy):
            devices.open("npu0pe0", wait=0.3)
        assert 0.3 <= time.monotonic() - start < 5
    with OtherProcess("npu0pe0", wait=60) as other:
        with devices.open("npu0pe0"):
            time.sleep(0.3)
        assert other.answer().startswith("holds")


def test_a_forked_child_has_nothing_of_its_parents(host: str) -> None:
    def child() -> None:
        (client,) = devices.clients()
        assert client.pid == os.getppid()
        with pytest.raises(devices.DeviceBusy):
            devices.open("npu0pe0")
        with devices.open("npu0pe1"):
            assert len(devices.clients()) == 2
        device.close()  # frees nothing of the parent's

    with devices.open("npu0pe0") as device:
        in_a_child(child)
        assert statuses()["npu0pe0"] is OCCUPIED
        with OtherProcess("npu0pe0") as other:
            assert other.answer().startswith("DeviceBusy")


def test_two_hosts_do_not_know_of_each_other(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holder("npu0"):
        monkeypatch.setenv("FURIOSA_EMULATED_HOST", str(tmp_path / "new" / "host"))
        assert set(statuses().values()) == {AVAILABLE}
        with devices.open("npu0"), OtherProcess("npu0") as other:
            assert other.answer().startswith("DeviceBusy")
        monkeypatch.setenv("FURIOSA_EMULATED_HOST", host)
        assert set(statuses().values()) == {OCCUPIED}


def test_another_name_of_the_directory_is_the_same_host(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(host)
    with devices.open("npu0pe0"):
        monkeypatch.setenv("FURIOSA_EMULATED_HOST", str(link))
        with devices.open("npu0pe0"):
            pass
        with OtherProcess("npu0pe0") as other:
            assert other.answer().startswith("DeviceBusy")


def test_nobody_else_can_read_the_state(host: str) -> None:
    devices.list_devices()
    files = sorted(Path(devices.host_directory()).iterdir())
    assert [file.name for file in files] == ["lock.v1", "state.v1"]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"no state", "it has 8 bytes instead of"),
        (lambda data: data[:-1], "bytes instead of"),
        (lambda data: b"X" + data[1:], "it does not begin with FURIOSAD"),
        (lambda data: data[:8] + b"\7" + data[9:], "it is of version 7 instead of 1"),
    ],
)
def test_a_state_file_that_is_none_is_refused(
    damage: Callable[[bytes], bytes],
    message: str,
    host: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    devices.list_devices()
    good = (Path(host) / "state.v1").read_bytes()
    (tmp_path / "state.v1").write_bytes(damage(good))
    monkeypatch.setenv("FURIOSA_EMULATED_HOST", str(tmp_path))
    with pytest.raises(devices.DeviceError, match=f"state.v1 is no state.*{message}.*delete it"):
        devices.list_devices()
    (tmp_path / "state.v1").unlink()
    with devices.open():
        pass


def test_a_state_file_whose_maker_died_is_completed(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices.list_devices()
    size = (Path(host) / "state.v1").stat().st_size
    (tmp_path / "state.v1").write_bytes(bytes(size))
    monkeypatch.setenv("FURIOSA_EMULATED_HOST", str(tmp_path))
    with devices.open("npu0pe0"):
        first, second = devices.list_devices()[0].status()
    assert (first.status, second.status) == (OCCUPIED, AVAILABLE)
    assert (tmp_path / "state.v1").read_bytes()[:8] == (Path(host) / "state.v1").read_bytes()[:8]


def test_a_directory_that_cannot_be_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FURIOSA_EMULATED_HOST", str(tmp_path / "file" / "host"))
    with pytest.raises(devices.DeviceError, match=r"file/host.*FURIOSA_EMULATED_HOST"):
        devices.list_devices()
