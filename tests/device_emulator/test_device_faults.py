"""Faults on demand: the typed error in time, the other PE undisturbed, recovery by reset."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from furiosa_ep import devices
from furiosa_ep.device_emulator.devices.native import configure
from furiosa_ep.devices import CoreStatus, Fault, Health
from tests.device_emulator.test_device_runs import SCHEDULE, X, check, executable

FATAL = [
    (Fault.HANG, devices.DeviceTimeout, Health.HUNG),
    (Fault.LOST, devices.DeviceLost, Health.LOST),
    (Fault.DMA_ERROR, devices.DmaError, Health.DMA_ERROR),
    (Fault.ECC_UNCORRECTED, devices.EccError, Health.ECC_ERROR),
]
DEADLINE = 0.2


@pytest.fixture
def neighbour(host: str) -> Iterator[None]:
    """Runs on the other PE all the while, which must all be right."""
    program, begun, stop = executable(), threading.Event(), threading.Event()

    def run() -> None:
        with devices.open("npu0pe1") as device:
            while not stop.is_set():
                check(device.run_sync(program, [X], timeout=DEADLINE))
                begun.set()

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(run)
        assert begun.wait(60)
        yield
        stop.set()
        done.result()
    assert devices.list_devices()[0].status()[1].health is Health.GOOD
    assert devices.list_devices()[0].counters()[1].failures == 0


@pytest.mark.parametrize(("fault", "error", "health"), FATAL)
def test_a_run_fails_in_time_and_the_next_open_mends_it(
    fault: Fault, error: type[devices.DeviceError], health: Health, neighbour: None
) -> None:
    program = executable()
    (card,) = devices.list_devices()
    with devices.open("npu0pe0") as device:
        check(device.run_sync(program, [X]))
        devices.inject(fault, "npu0pe0")
        start = time.monotonic()
        with pytest.raises(error, match="npu0pe0"):
            device.run_sync(program, [X], timeout=DEADLINE)
        assert time.monotonic() - start < DEADLINE + 2
        assert card.status()[0].health is health
        assert card.alive == (fault is not Fault.LOST)
        start = time.monotonic()
        for _ in range(3):  # at once from now on
            with pytest.raises(error, match=r"npu0pe0.*reset it"):
                device.run_sync(program, [X], timeout=60)
        assert time.monotonic() - start < 2
        with devices.open("npu0pe0") as again:
            check(again.run_sync(program, [X]))
        check(device.run_sync(program, [X]))
    status = card.status()[0]
    assert (status.health, status.resets) == (Health.GOOD, 1)
    assert status.struck[fault] == 1
    assert (status.counters.executions, status.counters.failures) == (3, 4)
    assert card.alive


@pytest.mark.parametrize(("fault", "error", "health"), FATAL)
def test_reset_mends_what_is_open(
    fault: Fault, error: type[devices.DeviceError], health: Health, host: str
) -> None:
    program = executable()
    with devices.open("npu0pe0") as device:
        devices.inject(fault, "npu0pe0", times=2)
        for _ in range(2):
            with pytest.raises(error):
                device.run_sync(program, [X], timeout=DEADLINE)
            devices.list_devices()[0].reset()
        check(device.run_sync(program, [X]))


def test_a_reset_ends_runs_that_hang(host: str) -> None:
    program = executable()
    devices.inject("hang", "npu0pe0")
    with devices.open("npu0pe0") as device, ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(device.run_sync, program, [X], 60)
        while devices.list_devices()[0].status()[0].health is not Health.HANGING:
            assert not hanging.done()
        devices.reset("npu0pe0")
        with pytest.raises(devices.DeviceTimeout, match="was reset during the run"):
            hanging.result(30)
        check(device.run_sync(program, [X]))


def test_all_runs_that_begin_while_the_device_hangs_end(host: str) -> None:
    program = executable()
    devices.inject("hang", "npu0pe0")
    with devices.open("npu0pe0") as device, ThreadPoolExecutor(12) as threads:
        start = time.monotonic()
        runs = [threads.submit(device.run_sync, program, [X], DEADLINE) for _ in range(12)]
        errors = [run.exception(60) for run in runs]
        assert time.monotonic() - start < 12 * DEADLINE + 5
    # Some may have gone before the fault struck.
    failed = [one for one in errors if one is not None]
    assert failed
    assert all(isinstance(one, devices.DeviceTimeout) for one in failed)


def test_a_corrected_bit_gives_the_right_result(host: str) -> None:
    program = executable()
    devices.inject(Fault.ECC_CORRECTED, "npu0pe0", times=2)
    with devices.open("npu0pe0") as device:
        for _ in range(3):
            check(device.run_sync(program, [X]))
    status = devices.list_devices()[0].status()[0]
    assert (status.struck[Fault.ECC_CORRECTED], status.health) == (2, Health.GOOD)


def test_an_overheated_device_takes_more_cycles(host: str) -> None:
    program = executable(schedule=SCHEDULE)
    (card,) = devices.list_devices()
    devices.inject("overheat", "npu0pe0", times=2)
    assert card.clock_frequency == 1000
    with devices.open("npu0pe0") as device:
        for _ in range(3):
            check(device.run_sync(program, [X]))
    assert card.clock_frequency == 1000  # until it has cooled
    assert card.counters()[0].cycles == 3 * 240


def test_a_lost_card_is_not_alive(host: str) -> None:
    (card,) = devices.list_devices()
    devices.inject("lost")
    assert not card.alive
    assert {one.status for one in card.status()} == {CoreStatus.UNAVAILABLE}
    devices.clear()
    assert card.alive


def test_a_fault_that_stays_strikes_after_each_reset(host: str) -> None:
    program = executable()
    devices.inject("dma-error", "npu0pe0", times=None)
    assert devices.list_devices()[0].status()[0].armed == {Fault.DMA_ERROR: None}
    for _ in range(3):
        with devices.open("npu0pe0") as device, pytest.raises(devices.DmaError):
            device.run_sync(program, [X])
    devices.clear("npu0pe0")
    with devices.open("npu0pe0") as device:
        check(device.run_sync(program, [X]))


def test_fused_pes_fail_with_either(host: str) -> None:
    program = executable()
    for name in ("npu0pe0", "npu0pe1"):
        devices.inject("ecc-uncorrected", name)
        with devices.open("npu0pe0-1") as device, pytest.raises(devices.EccError, match=name):
            device.run_sync(program, [X])
        with devices.open("npu0pe0-1") as device:
            check(device.run_sync(program, [X]))


def test_faults_of_the_environment_are_of_this_process(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = executable()
    monkeypatch.setenv("FURIOSA_INJECT", "dma-error@npu0pe1, ecc-corrected*always")
    with devices.open("npu0pe1") as device, pytest.raises(devices.DmaError):
        device.run_sync(program, [X])
    with devices.open("npu0") as device:
        for _ in range(4):
            check(device.run_sync(program, [X]))
    first, second = devices.list_devices()[0].status()
    assert first.armed == second.armed == {}  # which is what all processes see
    assert first.struck[Fault.ECC_CORRECTED] == second.struck[Fault.ECC_CORRECTED] == 2
    monkeypatch.delenv("FURIOSA_INJECT")
    with devices.open("npu0pe0") as device:
        check(device.run_sync(program, [X]))
    assert devices.list_devices()[0].status()[0].struck[Fault.ECC_CORRECTED] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fire", r"'fire': expected FAULT\[@DEVICE\]\[\*TIMES\] with one of hang, lost"),
        ("hang*0", "expected 1 to 1022 times, or always"),
        ("hang*1023", "expected 1 to 1022 times, or always"),
        ("hang*1024", "expected 1 to 1022 times, or always"),
        ("hang@npu7", "npu7: there are npu0"),
        ("hang@warboy*1*2", "expected FAULT"),
        ("hang@npu0p", "device spec 'npu0p'"),
    ],
)
def test_a_wrong_environment_is_refused(
    text: str, message: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FURIOSA_INJECT", text)
    with pytest.raises(devices.ConfigurationError, match=message):
        configure()


@pytest.mark.parametrize("times", [0, -1, 1023])
def test_wrong_numbers_are_refused(times: int, host: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 1022, or None"):
        devices.inject("hang", times=times)


def test_an_empty_name_does_not_stand_for_all(host: str) -> None:
    devices.inject("hang")
    for change in (partial(devices.inject, "lost"), devices.clear, devices.reset):
        with pytest.raises(devices.SpecError, match="device spec ''"):
            change("")
    for one in devices.list_devices()[0].status():
        assert (dict(one.armed), one.resets) == ({Fault.HANG: 1}, 0)


def test_a_fault_that_does_not_exist_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="fault 'fire': expected one of hang, lost, dma-error"):
        devices.inject("fire")


def test_what_is_not_there_cannot_fail(host: str) -> None:
    for name in ("npu1", "npu0pe2", "warboy*1"):
        with pytest.raises(devices.DeviceNotFound):
            devices.inject("hang", name)
    with pytest.raises(ValueError, match="fire"):
        devices.inject("fire")


def test_errors_of_onnxruntime_tell_what_the_device_said() -> None:
    text = "[ONNXRuntimeError] : 1 : FAIL : running X. Status Message: DmaError: npu0pe0 has failed"
    found = devices.device_error(RuntimeError(text))
    assert type(found) is devices.DmaError
    assert str(found) == "npu0pe0 has failed"
    assert devices.device_error(RuntimeError("something else")) is None
