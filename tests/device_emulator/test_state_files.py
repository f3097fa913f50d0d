"""What becomes of the files of an emulated host, and of processes that share them."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from furiosa_ep import devices
from tests.device_emulator.other_process import OtherProcess


def run(program: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_broken_state_costs_no_descriptors(host: str) -> None:
    (Path(host) / "state.v1").write_text("broken")
    found = run("""
import os
from furiosa_ep import devices
def descriptors():
    try: devices.list_devices()
    except devices.DeviceError: return len(os.listdir("/proc/self/fd"))
first = descriptors()
for _ in range(10): last = descriptors()
print(last - first)
""")
    assert found == "0"


def test_a_process_that_was_refused_can_fork(host: str) -> None:
    (Path(host) / "state.v1").write_text("broken")
    found = run(f"""
import os, signal
from furiosa_ep import devices
for _ in range(3):
    try: devices.list_devices()
    except devices.DeviceError as error: pass
os.remove({host!r} + "/state.v1")
devices.list_devices()
signal.alarm(20)
if os.fork() == 0:
    with devices.open("npu0"): os._exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
""")
    assert found == "7"


def test_a_host_that_cannot_be_opened_again_keeps_what_it_holds(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To close any descriptor of the lock file would free all locks."""
    with devices.open("npu0pe0"):
        (tmp_path / "other").symlink_to(host)
        state = Path(host) / "state.v1"
        state.rename(Path(host) / "aside")
        state.mkdir()
        monkeypatch.setenv("FURIOSA_EMULATED_HOST", str(tmp_path / "other"))
        with pytest.raises(devices.DeviceError, match=r"state.v1: Is a directory"):
            devices.list_devices()
        state.rmdir()
        (Path(host) / "aside").rename(state)
        monkeypatch.setenv("FURIOSA_EMULATED_HOST", host)
        with OtherProcess("npu0pe0") as other:
            assert other.answer().startswith("DeviceBusy")


def test_a_state_that_is_no_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("state.v1", "lock.v1"):
        folder = tmp_path / name
        folder.mkdir()
        os.mkfifo(folder / name)
        monkeypatch.setenv("FURIOSA_EMULATED_HOST", str(folder))
        with pytest.raises(devices.DeviceError, match=f"{name} is no .*it is no regular file"):
            devices.list_devices()


def test_slashes_behind_the_directory_mean_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FURIOSA_EMULATED_HOST", f"{tmp_path}/new//")
    devices.list_devices()
    assert devices.host_directory() == f"{tmp_path}/new"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_relative_directory_is_one_of_the_folder_where_it_was_first_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FURIOSA_EMULATED_HOST", "inside")
    devices.list_devices()
    assert devices.host_directory() == f"{tmp_path}/inside"


def test_a_folder_above_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FURIOSA_EMULATED_HOST", "/proc/no/such/folder")
    with pytest.raises(devices.DeviceError, match="cannot make /proc/no/such/folder: "):
        devices.list_devices()


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-Upf", "--mount-proc", "true"], check=False).returncode != 0,
    reason="needs process namespaces",
)
def test_processes_of_another_container_are_noticed(host: str) -> None:
    """They share the directory, and not the process ids."""
    program = """
from furiosa_ep import devices
card, = devices.list_devices()
print([str(one.status) for one in card.status()], len(devices.clients()))
try: devices.open("npu0pe0")
except devices.DeviceBusy as error: print(error)
"""
    with devices.open("npu0pe0"):
        result = subprocess.run(
            ["unshare", "-Urpf", "--mount-proc", sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    seen, busy = result.stdout.splitlines()
    assert seen == "['occupied', 'available'] 1"
    assert busy.startswith("npu0pe0 is held by process")
