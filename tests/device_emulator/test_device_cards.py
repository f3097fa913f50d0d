"""$FURIOSA_EMULATED_DEVICES: how many cards there are, and what they are."""

import os
from pathlib import Path

import pytest

from furiosa_ep import devices
from furiosa_ep.device_emulator.devices.cards import read_cards


def write(folder: Path, text: str) -> str:
    path = folder / "devices.toml"
    path.write_text(text)
    return str(path)


def test_one_card_by_default(host: str) -> None:
    (device,) = devices.list_devices()
    assert (device.name, device.product_name, device.arch) == ("npu0", "Warboy", "WarboyB0")
    assert device.cores == (0, 1)
    assert device.alive
    assert device.clock_frequency == 2000
    assert device.dram_bytes == 16 << 30
    names = [file.name for file in device.dev_files]
    assert names == ["npu0", "npu0pe0", "npu0pe1", "npu0pe0-1"]


def test_a_number_of_cards(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", "3")
    found = devices.list_devices()
    assert [one.name for one in found] == ["npu0", "npu1", "npu2"]
    for attribute in ("device_uuid", "device_sn", "busname"):
        assert len({getattr(one, attribute) for one in found}) == 3
    monkeypatch.delenv("FURIOSA_EMULATED_DEVICES")
    assert len(devices.list_devices()) == 1


def test_a_file_describes_cards(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(
        tmp_path,
        "[[device]]\ndram_gib = 0x20\ntdp_watts = 40.5\n[[device]]\nserial = 'S7'\n"
        "firmware = '2.0'\npci_bdf = '0000:af:00.0'\nnuma_node = 1\nambient_celsius = 30\n",
    )
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", path)
    first, second = devices.list_devices()
    assert (first.dram_bytes, first.card.tdp_watts) == (32 << 30, 40.5)
    assert (second.device_sn, second.firmware_version) == ("S7", "2.0")
    assert (second.busname, second.card.numa_node) == ("0000:af:00.0", 1)
    assert second.card.ambient_celsius == 30.0


def test_a_file_that_changes_is_read_again(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "[[device]]\n")
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", path)
    assert len(devices.list_devices()) == 1
    write(tmp_path, "[[device]]\n[[device]]\n# and a time that differs\n")
    assert len(devices.list_devices()) == 2


@pytest.mark.parametrize(
    "value",
    ["0", "33", "99999999999999999999", "-1", "two", "1.5", "1e9", "000000002999", "0" * 5000],
)
def test_other_values_are_refused(value: str) -> None:
    with pytest.raises(
        devices.ConfigurationError,
        match=r"FURIOSA_EMULATED_DEVICES=.*expected a number from 1 to 32, or",
    ):
        read_cards(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected 1 to 32 tables \[\[device\]\]"),
        ("[device]\n", r"expected 1 to 32 tables"),
        ("[[device]]\n" * 33, r"expected 1 to 32 tables"),
        ("[[device]]\n[[card]]\n", "and nothing else"),
        ("device = [1, 2]\n", r"expected 1 to 32 tables"),
        ("device = ['ab']\n", r"expected 1 to 32 tables"),
        ("x = " + "[" * 5000, "expected a number from 1 to 32, or the path of a TOML file"),
        ("x = 1\n" + "#" * (1 << 20), "it has more than 1048576 bytes"),
        ("[[device]]\npci_bdf = '1'\n", "pci_bdf = '1': expected a PCI address like 0000:01:00.0"),
        ("[[device]]\nserial = '" + 65 * "S" + "'\n", "expected a text of 1 to 64 ASCII"),
        ("[[device]]\nmemory = 3\n", "memory = 3: expected one of dram_gib, tdp_watts"),
        ("[[device]]\ndram_gib = 64\n", "dram_gib = 64: expected a number from 1 to 32"),
        ("[[device]]\ndram_gib = true\n", "dram_gib = True: expected a number"),
        ("[[device]]\ndram_gib = nan\n", "dram_gib = nan: expected a number"),
        ("[[device]]\nnuma_node = 0.5\n", "numa_node = 0.5: expected an integer"),
        ("[[device]]\nserial = 7\n", "serial = 7: expected a text"),
        ("[[device]]\nserial = 'a\\u0000'\n[", "the path of a TOML file"),
        ('[[device]]\nserial = "a\\u0007"\n', "expected a text"),
        (
            "[[device]]\nserial = 'S'\n[[device]]\nserial = 'S'\n",
            "devices 0 and 1 have the same serial, 'S'",
        ),
    ],
)
def test_a_wrong_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(devices.ConfigurationError, match=message):
        read_cards(write(tmp_path, text))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero", "/dev/null"):
        with pytest.raises(devices.ConfigurationError, match="it is no regular file"):
            read_cards(str(path))


def test_a_long_value_is_not_shown_whole(tmp_path: Path) -> None:
    with pytest.raises(devices.ConfigurationError) as error:
        read_cards(write(tmp_path, f"[[device]]\nserial = '{'S' * 100_000}'\n"))
    assert len(str(error.value)) < 1000


def test_a_wrong_environment_leaves_the_last_one(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", "2")
    devices.list_devices()
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", "many")
    with pytest.raises(devices.ConfigurationError):
        devices.list_devices()
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", "2")
    assert len(devices.list_devices()) == 2
