"""Plugins hear of reports and Programs, and cannot harm anybody by what they do then."""

from typing import Any

import numpy as np
import pytest

from furiosa_ep.compiler.driver import CompiledPartition, partition_model
from furiosa_ep.device_emulator import checksum
from furiosa_ep.options import Options
from furiosa_ep.partitioner import partition
from furiosa_ep.partitioner.descriptors import PluginInfo
from furiosa_ep.partitioner.environment import STRICT
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.plugins import build_registry, registry
from furiosa_ep.partitioner.registry import PluginError
from furiosa_ep.partitioner.report import Report
from furiosa_ep.program import Program
from tests.compiler.plugin_passes import MODEL, program

PLAIN = program(registry()).to_bytes(checksum)


class Listener:
    """Hears of Programs, and fails if it is told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.heard: list[Program] = []
        self._error = error

    @hookimpl
    def furiosa_plugin(self) -> PluginInfo:
        return PluginInfo("any", "1.0")

    @hookimpl
    def furiosa_compiled(self, program: Program) -> None:
        self.heard.append(program)
        if self._error is not None:
            raise self._error

    @hookimpl
    def furiosa_partitioned(self, report: Report) -> None:
        if self._error is not None:
            raise self._error


class Vandal(Listener):
    """Changes all that it hears of."""

    @hookimpl
    def furiosa_compiled(self, program: Program) -> None:
        self.heard.append(program)
        np.frombuffer(program.constants, np.uint8)
        assert isinstance(program.commands, list)
        attributes: Any = program.commands[0].attributes
        attributes.clear()
        program.commands.clear()


def test_every_program_is_heard_of_by_all() -> None:
    one, two = Listener(), Listener()
    found = build_registry({"one": one, "two": two})
    for count in (1, 2):
        built = program(found)
        assert len(one.heard) == len(two.heard) == count
        assert one.heard[-1].to_bytes(checksum) == built.to_bytes(checksum)


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(2)], ids=["error", "exit"])
def test_who_fails_is_reported_once_and_hears_of_nothing_more(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Listener(error), Listener()
    found = build_registry({"bad": bad, "good": good})
    for _ in range(2):
        assert program(found).to_bytes(checksum) == PLAIN
    assert len(bad.heard) == 1
    assert len(good.heard) == 2
    (record,) = caplog.records
    assert record.message.startswith(
        f"plugin 'bad' is told of nothing more: furiosa_compiled: {type(error).__name__}: "
    )


def test_strict_mode_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STRICT, "1")
    found = build_registry({"bad": Listener(KeyError("x"))})
    with pytest.raises(PluginError, match="plugin 'bad': furiosa_compiled: KeyError: 'x'"):
        program(found)


def test_what_is_heard_is_a_copy() -> None:
    vandal, listener = Vandal(), Listener()
    found = build_registry({"a": vandal, "b": listener})
    compiled = CompiledPartition(MODEL, found)
    memory = bytearray()

    def allocate(size: int) -> bytearray:
        memory.extend(bytes(size))
        return memory

    head = compiled.program_head(None, allocate)
    assert not vandal.heard[0].commands
    assert listener.heard[0].to_bytes(checksum) == PLAIN
    plain_head = CompiledPartition(MODEL).program_head(None, bytearray)
    assert head == plain_head
    # What a plugin keeps is not in the session's memory.
    memory[:] = bytes(len(memory))
    assert listener.heard[0].to_bytes(checksum) == PLAIN


def test_reports_are_heard_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[Report] = []

    class Reader(Listener):
        @hookimpl
        def furiosa_partitioned(self, report: Report) -> None:
            reports.append(report)

    found = build_registry({"bad": Listener(ValueError("y")), "good": Reader()})
    monkeypatch.setattr(partition, "registry", lambda: found)
    for _ in range(2):
        report = partition_model(MODEL, Options(claim="all"))
        assert report.partitions
        assert reports[-1] is report
    (record,) = caplog.records
    assert "'bad' is told of nothing more: furiosa_partitioned: ValueError: y" in record.message


def test_without_listeners_nothing_is_made() -> None:
    made = []
    build_registry({}).notify("furiosa_compiled", program=lambda: made.append(1))
    assert not made
