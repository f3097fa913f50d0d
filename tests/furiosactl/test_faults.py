"""furiosactl inject and reset."""

import json

import pytest
import yaml

from furiosa_ep import devices
from furiosa_ep.devices import Fault
from tests.device_emulator.working_process import WorkingProcess
from tests.furiosactl.running import cells, furiosactl, header, records


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
