"""What processes see of the temperature, power and utilisation of cards."""

import ctypes
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from furiosa_ep import devices
from furiosa_ep.device_emulator.devices import telemetry, thermal
from furiosa_ep.device_emulator.devices.cards import CLOCK_MHZ
from furiosa_ep.device_emulator.library import load_library
from furiosa_ep.devices import Counters, Utilization
from tests.device_emulator.working_process import COMPUTE_CYCLES, CYCLES, WorkingProcess

NOTHING = Counters(*[0] * 8)


class Clock:
    """The time of this process, which a test puts forward."""

    def __init__(self) -> None:
        self.now = time.time_ns()

    def time_ns(self) -> int:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)

    def begin(self) -> devices.Telemetry:
        """What other processes have seen when they opened a device is over."""
        self.pass_by(60)
        return card().telemetry()


@pytest.fixture
def clock(host: str, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(telemetry, "time", clock)
    return clock


def card() -> devices.Device:
    return devices.get_device(0)


def words() -> list[int]:
    read = (ctypes.c_uint64 * 8)()
    assert load_library().furiosa_card_thermal(0, read, 8) == 0
    return list(read)


def exchange(expected: list[int], desired: list[int]) -> bool:
    done = ctypes.c_int32()
    array = ctypes.c_uint64 * 8
    function = load_library().furiosa_card_exchange_thermal
    assert function(0, array(*expected), array(*desired), 8, ctypes.byref(done)) == 0
    return bool(done.value)


def test_a_card_that_does_nothing(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = card().telemetry()
    assert found == devices.Telemetry(25.75, 1.0, 0.0, 2000)
    assert card().clock_frequency == 2000


def test_ambient_temperature_and_tdp_are_the_cards(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cards") / "cards.toml"
    path.write_text("[[device]]\nambient_celsius = 40\ntdp_watts = 41\n")
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", str(path))
    assert card().telemetry().temperature == 40.75
    with WorkingProcess("npu0") as work:
        clock.begin()
        assert work.run(200) == "done"  # multi-core: each PE has half of them
        clock.pass_by(1.0)
        assert card().telemetry().power == pytest.approx(41, rel=0.01)


def test_the_work_of_other_processes_heats_a_card(clock: Clock) -> None:
    with WorkingProcess("npu0pe0-1") as work:
        idle = clock.begin()
        assert work.run(50) == "done"
        clock.pass_by(1.0)
        busy = card().telemetry()
    assert busy.utilization == pytest.approx(50, rel=0.05)
    assert busy.power == pytest.approx(thermal.power_at(card().card, 0.5), rel=0.05)
    assert busy.temperature > idle.temperature
    clock.pass_by(30)
    cooler = card().telemetry()
    assert idle.temperature < cooler.temperature < busy.temperature
    assert cooler.power == thermal.IDLE_WATTS


def test_a_pe_alone_is_half_of_a_card(clock: Clock) -> None:
    with WorkingProcess("npu0pe1") as work:
        clock.begin()
        work.run(50)
        clock.pass_by(1.0)
        assert card().telemetry().utilization == pytest.approx(25, rel=0.05)


def test_who_looks_soon_sees_what_was_seen(clock: Clock) -> None:
    with WorkingProcess("npu0pe0") as work:
        seen = clock.begin()
        work.run(5)
        clock.pass_by(0.9 * telemetry.SAMPLING_SECONDS)
        assert card().telemetry() == seen
        clock.pass_by(0.2 * telemetry.SAMPLING_SECONDS)
        assert card().telemetry().utilization > 0


def test_processes_see_one_history(host: str) -> None:
    program = (
        "import time\nfrom furiosa_ep import devices\nfor _ in range(8):\n"
        " print(time.time(), devices.get_device(0).telemetry().temperature, flush=True)\n"
        " time.sleep(0.05)"
    )
    devices.inject("overheat", times=None)
    card().telemetry()
    devices.clear()
    readers = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    lines = [line for reader in readers for line in reader.communicate()[0].splitlines()]
    found = sorted(tuple(map(float, line.split())) for line in lines)
    assert len(found) == 32
    temperatures = [temperature for _, temperature in found]
    # By what it cools between two samples; a process may be late to print what it has seen.
    assert all(new - old < 0.5 for old, new in pairwise(temperatures))
    assert 90 < temperatures[-1] < temperatures[0] <= 100


def test_many_threads_look_at_once(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "SAMPLING_SECONDS", 0.0)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: card().telemetry().temperature, range(400)))
    assert set(found) == {25.75}


def test_a_fault_heats_and_throttles(clock: Clock) -> None:
    devices.inject("overheat", "npu0pe0", times=None)
    clock.pass_by(1)
    hot = card().telemetry()
    assert (hot.temperature, hot.clock_frequency) == (100, 1000)
    devices.clear()
    clock.pass_by(5)
    warm = card().telemetry()
    assert thermal.RESUME_CELSIUS < warm.temperature < 100
    assert warm.clock_frequency == 1000
    clock.pass_by(60)
    cool = card().telemetry()
    assert cool.temperature < thermal.RESUME_CELSIUS
    assert cool.clock_frequency == 2000


def test_a_strike_is_seen_though_it_is_over(clock: Clock) -> None:
    card().telemetry()
    devices.inject("overheat", "npu0pe1", times=2)
    with WorkingProcess("npu0pe1") as work:
        assert work.run(3) == "done"
    assert clock.begin().temperature == 100


def test_runs_on_a_throttled_card_count_more_cycles_until_its_time_is_over(host: str) -> None:
    with WorkingProcess("npu0pe0") as work:

        def cycles() -> int:
            before = card().counters()[0].cycles
            assert work.run(1) == "done"
            return card().counters()[0].cycles - before

        assert cycles() == CYCLES
        card().telemetry()
        for seconds, permille, expected in (
            (60, 500, 2 * CYCLES),
            (60, 250, 4 * CYCLES),
            (-1, 500, CYCLES),
            (60, 0, CYCLES),
            (60, 1023, CYCLES),
        ):
            until = time.time_ns() + int(seconds * 1e9)
            known = words()
            assert exchange(known, [until // 1024 * 1024 + permille, *known[1:]])
            assert cycles() == expected


def test_what_is_shared_is_exchanged_as_a_whole_and_once(host: str) -> None:
    card().telemetry()
    known = words()
    assert exchange(known, [*range(1, 8), 99])
    assert words() == [*range(1, 8), known[7] + 2]
    assert not exchange(known, known)
    assert words()[:7] == [*range(1, 8)]


def test_a_writer_that_was_stopped_halfway_stops_nobody(host: str) -> None:
    card().telemetry()
    directory = devices.host_directory()
    with open(os.path.join(directory, "state.v1"), "r+b") as file:  # noqa: PTH118, PTH123
        data = file.read()
        place = data.index(b"".join(one.to_bytes(8, "little") for one in words())) + 7 * 8
        file.seek(place)
        file.write((words()[7] + 1).to_bytes(8, "little"))
    odd = words()
    assert odd[7] % 2 == 1
    assert exchange(odd, odd)
    assert words()[7] % 2 == 0


@pytest.mark.parametrize("damage", [0xFFFFFFFFFFFFFFFF, 0x7FF0000000000000, 0x7FE0000000000000])
def test_nonsense_in_the_state_is_no_temperature(clock: Clock, damage: int) -> None:
    card().telemetry()
    known = words()
    assert exchange(known, [*known[:2], damage, *known[3:]])
    clock.pass_by(1)
    assert card().telemetry().temperature == 25.75


def test_looking_holds_nothing(host: str) -> None:
    card().telemetry()
    assert devices.clients() == []
    with WorkingProcess("npu0"):
        card().telemetry()


def test_utilization_is_of_time_and_of_work() -> None:
    one = Counters(1, CYCLES, COMPUTE_CYCLES, CYCLES - COMPUTE_CYCLES, 0, 6, 6, 0)
    seconds = CYCLES / (CLOCK_MHZ * 1e6)
    assert Utilization.between([NOTHING], [one], 2 * seconds) == Utilization(50, 75, 25)
    assert Utilization.between([NOTHING] * 2, [one, NOTHING], seconds) == Utilization(50, 75, 25)
    assert Utilization.between([NOTHING], [one], seconds / 7) == Utilization(100, 75, 25)
    assert Utilization.between([one], [one], seconds) == Utilization(0, 0, 0)
    assert Utilization.between([NOTHING], [one], 0) == Utilization(0, 0, 0)
