"""Sessions and the devices that they hold."""

import os
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest

from furiosa_ep import devices
from furiosa_ep.devices import CoreStatus, Hold
from tests.device_emulator.other_process import OtherProcess, holder
from tests.provider.conftest import RunPython
from tests.provider.fake_driver import Behaviour
from tests.provider.models import chain, mixed

X = np.arange(6, dtype=np.float32).reshape(2, 3)
Y = -(X + np.array([1, 2, 3], np.float32))


def create(model: bytes = b"", /, **options: str) -> ort.InferenceSession:
    providers = [("FuriosaProvider", options), "CPUExecutionProvider"]
    return ort.InferenceSession(model or chain(), providers=providers)


def check_run(session: ort.InferenceSession) -> None:
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], Y)


def holds() -> dict[str, Hold]:
    """What this process holds."""
    mine = [dict(one.holds) for one in devices.clients() if one.pid == os.getpid()]
    return mine[0] if mine else {}


def executions() -> list[int]:
    return [one.executions for card in devices.list_devices() for one in card.counters()]


def test_a_session_that_names_no_device_shares_one(driver: Behaviour, host: str) -> None:
    session = create()
    assert holds() == {"npu0pe0": Hold.SHARED}
    with holder(shared=True):
        check_run(session)
    del session
    assert holds() == {}


@pytest.mark.parametrize("how", ["option", "FURIOSA_DEVICES", "NPU_DEVNAME"])
def test_a_session_that_names_a_device_has_it_alone(
    how: str, driver: Behaviour, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "option":
        monkeypatch.setenv("FURIOSA_DEVICES", "npu0pe0")
        session = create(device="npu:0:1")
    else:
        monkeypatch.setenv(how, "npu:0:1")
        session = create()
    assert holds() == {"npu0pe1": Hold.EXCLUSIVE}
    monkeypatch.delenv("FURIOSA_DEVICES", raising=False)
    monkeypatch.delenv("NPU_DEVNAME", raising=False)
    with OtherProcess("npu0pe1") as other:
        assert other.answer().startswith("DeviceBusy")
    again = create(device="npu0pe1")
    del session
    assert holds() == {"npu0pe1": Hold.EXCLUSIVE}
    check_run(again)


def test_a_device_that_is_busy_fails_the_creation(driver: Behaviour, host: str) -> None:
    with holder("npu0") as other:
        for options in ({"device": "npu0pe0"}, {"device": "warboy(2)*1"}, {}):
            with pytest.raises(Exception, match=rf"INVALID_ARGUMENT : DeviceBusy: .*{other.pid}"):
                create(**options)
    check_run(create(device="npu0pe0"))


def test_a_session_can_wait_for_its_device(driver: Behaviour, host: str) -> None:
    with OtherProcess("npu0pe0") as other:
        other.answer()
        other.release_after(0.3)
        session = create(device="npu0pe0", device_wait="60")
    check_run(session)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "npu0pe7"}, "DeviceNotFound: npu0pe7: there are npu0"),
        ({"device": "npu"}, r"option 'device'='npu': device spec 'npu': expected .* character 4"),
        ({"device": "npu0pe0,warboy(2)*1"}, "name devices of one kind"),
        (
            {"device": "npu0pe0", "target": "warboy-2pe"},
            "option 'target'='warboy-2pe': option 'dev",
        ),
        ({"device": "npu0pe0-1", "target": "warboy"}, "option 'target'='warboy': option 'device'"),
    ],
)
def test_a_wrong_device_is_named(
    options: dict[str, str], message: str, driver: Behaviour, host: str
) -> None:
    with pytest.raises(Exception, match=message):
        create(**options)
    assert holds() == {}


@pytest.mark.parametrize("variable", ["FURIOSA_DEVICES", "NPU_DEVNAME"])
@pytest.mark.filterwarnings("ignore:.NPU_DEVNAME is deprecated")
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("npu0pe7", r"DeviceNotFound: npu0pe7: there are npu0, .* \({}=npu0pe7\)"),
        ("npu0p", "{}=npu0p: device spec 'npu0p': expected 'pe'"),
        ("npu0pe0-1", r"option 'target'='warboy': {}=npu0pe0-1 has 2 PEs"),
    ],
)
def test_a_variable_that_names_a_wrong_device_is_named(
    variable: str,
    spec: str,
    message: str,
    driver: Behaviour,
    host: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, spec)
    with pytest.raises(Exception, match=message.format(rf"\${variable}")):
        create(target="warboy")


@pytest.mark.parametrize(
    ("options", "target", "held"),
    [
        ({}, "warboy", 1),
        ({"target": "warboy-2pe"}, "warboy-2pe", 2),
        ({"device": "npu0pe1"}, "warboy", 1),
        ({"device": "npu0"}, "warboy", 2),
        ({"device": "npu0pe0-1"}, "warboy-2pe", 2),
        ({"device": "warboy(2)*1", "target": "warboy-2pe"}, "warboy-2pe", 2),
    ],
)
def test_the_target_follows_the_device(
    options: dict[str, str], target: str, held: int, driver: Behaviour, host: str
) -> None:
    session = create(**options)
    assert driver.options[-1].target == target
    assert len(holds()) == held
    check_run(session)


def test_several_devices_take_turns(
    driver: Behaviour, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", "2")
    session = create(device="npu1pe0,npu0")
    for _ in range(6):
        check_run(session)
    assert executions() == [2, 2, 2, 0]


def test_runs_on_fused_pes_count_on_both(driver: Behaviour, host: str) -> None:
    session = create(device="npu0pe0-1")
    check_run(session)
    first, second = devices.list_devices()[0].counters()
    assert (first.executions, second.executions) == (1, 1)
    assert (first.bytes_in, first.bytes_out) == (24, 24)
    assert (second.bytes_in, second.bytes_out) == (0, 0)


def test_a_model_that_does_not_fit_into_dram(driver: Behaviour, host: str) -> None:
    gib = 1 << 28  # float elements
    with pytest.raises(Exception, match=r"FAIL : OutOfDeviceMemory: a Program needs 24576.0 MiB"):
        create(mixed((12, gib)))
    session = create(mixed((6, gib)))
    assert devices.list_devices()[0].dram_used == 12 << 30
    with pytest.raises(Exception, match=r"npu0 has 4096.0 MiB of 16384.0 MiB left"):
        create(mixed((3, gib)))
    del session
    create(mixed((3, gib)))
    assert devices.list_devices()[0].dram_used == 0


def test_a_child_that_is_forked_takes_its_device_anew(
    driver: Behaviour, host: str, run_python: RunPython
) -> None:
    result = run_python(
        "import os\n"
        "from furiosa_ep import devices\n"
        "def create(**options):\n"
        "    providers = [('FuriosaProvider', options)]\n"
        "    return ort.InferenceSession(models.chain(), providers=providers)\n"
        "alone, shared = create(device='npu0pe0'), create(device='npu0pe1')\n"
        "del shared\n"
        "os.environ['FURIOSA_EMULATED_DEVICES'] = '2'\n"
        "shared = ort.InferenceSession(models.chain(), providers=PROVIDERS)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try: alone.run(None, {'x': X})\n"
        "    except Exception as error: print(error, flush=True)\n"
        "    try: shared.run(None, {'x': X})\n"
        "    except Exception as error: print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "alone.run(None, {'x': X})\n"
        "del alone\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    shared.run(None, {'x': X})\n"
        "    print(len(devices.clients()), flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print([one.executions for one in devices.list_devices()[0].counters()])\n"
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "DeviceBusy: npu0pe0 is held by process" in lines[0], result.stderr
    assert "DeviceBusy: npu0pe0" in lines[1]  # which the parent then holds exclusively
    assert lines[2:] == ["2", "[2, 0]"]


LISTING = """
import os
from furiosa_ep import devices
found = [one for one in ort.get_ep_devices() if one.ep_name == "FuriosaProvider"]
def create(chosen, **options):
    settings = ort.SessionOptions()
    settings.add_provider_for_devices(chosen, options)
    session = ort.InferenceSession(models.chain(), settings)
    assert session.run(None, {"x": X})[0][1].tolist() == [-4, -6, -8]
    return session
def held():
    return {name: str(how) for one in devices.clients() for name, how in one.holds.items()}
"""


@pytest.fixture
def listing(
    run_python: RunPython, host: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """What code prints where two cards are there."""
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", "2")

    def run(code: str) -> str:
        result = run_python(LISTING + code)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    return run


def test_onnxruntime_lists_the_cards(listing: Callable[[str], str]) -> None:
    assert listing(
        "cards = devices.list_devices()\n"
        "for card, one in zip(cards, found, strict=True):\n"
        "    assert one.device.vendor_id == 0x1ed2 and one.device.device_id == card.index\n"
        "    for data in (one.ep_metadata, one.device.metadata):\n"
        "        assert data['name'] == card.name and data['serial'] == card.device_sn\n"
        "        assert data['uuid'] == card.device_uuid and data['pci_bdf'] == card.busname\n"
        "        assert data['firmware'] == card.firmware_version and data['pes'] == '2'\n"
        "        assert data['dram_bytes'] == str(16 << 30) and data['product'] == 'Warboy'\n"
        "print(len(cards))"
    ) == ("2")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("create([found[0]])", {"npu0pe0": "shared"}),
        ("create([found[1]])", {"npu1pe0": "shared"}),
        ("create([found[1]], target='warboy-2pe')", {"npu1pe0": "shared", "npu1pe1": "shared"}),
        ("create(found)", {"npu0pe0": "shared", "npu1pe0": "shared"}),
        ("create([found[1]], device='npu0pe1')", {"npu0pe1": "exclusive"}),
        (
            "ort.InferenceSession(models.chain(), providers=[('FuriosaProvider', "
            "{'device_id': '1'})])",
            {"npu1pe0": "shared"},
        ),
    ],
)
def test_what_onnxruntime_chooses_is_used(
    call: str, expected: dict[str, str], listing: Callable[[str], str]
) -> None:
    assert listing(f"session = {call}\nprint(held())") == str(expected)


def test_a_card_that_is_chosen_and_held_by_others_is_busy(listing: Callable[[str], str]) -> None:
    with holder("npu1"):
        said = listing("try: create([found[1]])\nexcept Exception as error: print(error)")
    assert "DeviceBusy: npu1pe1 is held by" in said


def test_occupied_is_what_a_session_holds(driver: Behaviour, host: str) -> None:
    session = create(device="npu0pe0")
    first, second = devices.list_devices()[0].status()
    assert (first.status, second.status) == (CoreStatus.OCCUPIED, CoreStatus.AVAILABLE)
    check_run(session)
