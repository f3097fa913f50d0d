"""Sessions on devices that fail."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from furiosa_ep import devices
from furiosa_ep.devices import Fault, Health
from tests.provider.conftest import RunPython
from tests.provider.fake_driver import Behaviour
from tests.provider.test_devices import X, check_run, create

FATAL = {
    Fault.HANG: devices.DeviceTimeout,
    Fault.LOST: devices.DeviceLost,
    Fault.DMA_ERROR: devices.DmaError,
    Fault.ECC_UNCORRECTED: devices.EccError,
}
SECONDS = 0.3


@pytest.mark.parametrize("fault", FATAL)
def test_each_fault_is_told_in_time_and_disturbs_nobody_else(
    fault: Fault, driver: Behaviour, host: str
) -> None:
    begun, stop = threading.Event(), threading.Event()
    neighbour = create(device="npu0pe1")

    def run() -> None:
        while not stop.is_set():
            check_run(neighbour)
            begun.set()

    session = create(device="npu0pe0", run_timeout=str(SECONDS))
    with ThreadPoolExecutor(1) as threads:
        undisturbed = threads.submit(run)
        assert begun.wait(60)
        devices.inject(fault, "npu0pe0")
        for seconds in (SECONDS, 0):  # then at once
            start = time.monotonic()
            with pytest.raises(Exception, match=rf"Status Message: {FATAL[fault].__name__}: ") as e:
                session.run(None, {"x": X})
            assert time.monotonic() - start < seconds + 2
            assert type(devices.device_error(e.value)) is FATAL[fault]
        check_run(create(device="npu0pe0"))
        check_run(session)
        stop.set()
        undisturbed.result()
    first, second = devices.list_devices()[0].status()
    assert first.health is second.health is Health.GOOD
    assert (first.counters.failures, second.counters.failures) == (2, 0)


@pytest.mark.parametrize("fault", [Fault.ECC_CORRECTED, Fault.OVERHEAT])
def test_a_session_does_not_notice_what_is_corrected(
    fault: Fault, driver: Behaviour, host: str
) -> None:
    session = create(device="npu0pe0")
    devices.inject(fault, "npu0", times=None)
    check_run(session)
    assert devices.list_devices()[0].status()[0].struck[fault] == 1


def test_a_session_that_shares_is_mended_by_the_next_one(driver: Behaviour, host: str) -> None:
    session = create()
    devices.inject("lost", "npu0pe0")
    with pytest.raises(Exception, match="DeviceLost: npu0pe0"):
        check_run(session)
    assert not devices.list_devices()[0].alive
    check_run(create())
    check_run(session)
    assert devices.list_devices()[0].alive


def test_faults_of_the_environment(
    host: str, run_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FURIOSA_INJECT", "ecc-uncorrected@npu0pe0")
    result = run_python(
        "session = ort.InferenceSession(models.chain(), providers=PROVIDERS)\n"
        "try: session.run(None, {'x': X})\n"
        "except Exception as error: print(error)\n"
        "session = ort.InferenceSession(models.chain(), providers=PROVIDERS)\n"
        "print(session.run(None, {'x': X})[0][1].tolist())\n"
    )
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert "EccError: npu0pe0" in first
    assert second == "[-4.0, -6.0, -8.0]"


@pytest.mark.parametrize("value", ["FURIOSA_INJECT=fire", "FURIOSA_EMULATED_DEVICES=many"])
def test_a_wrong_environment_fails_the_registration(
    value: str, host: str, run_plain_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*value.split("="))
    result = run_plain_python(
        "import furiosa_ep\n"
        "try: furiosa_ep.register()\n"
        "except furiosa_ep.devices.ConfigurationError as error: print(error)\n"
    )
    assert value.split("=")[0] in result.stdout, result.stderr
