"""``furiosa plugins list``, and what ``furiosa doctor`` says of plugins."""

import json
from typing import Any

import pytest

from furiosa_ep.cli import doctor
from furiosa_ep.cli.main import main
from furiosa_ep.cli.plugins.inventory import FIELDS
from furiosa_ep.device_emulator.library import library_path
from furiosa_ep.kernels.kernel import Kernel, KernelFrame, NativeKernel
from furiosa_ep.partitioner.descriptors import (
    Calibrator,
    CliCommand,
    CostModel,
    GraphPass,
    Lowering,
    PartitionSelection,
    PluginInfo,
    Stage,
)
from furiosa_ep.partitioner.hookspecs import DESCRIPTORS
from furiosa_ep.partitioner.patterns import Pattern, PatternNode
from furiosa_ep.partitioner.schema import Schema
from furiosa_ep.partitioner.support import OperatorSupport
from furiosa_ep.plugin import Target

from .conftest import Install


def nothing(*_: Any) -> Any:
    return None


def reference(frame: KernelFrame) -> None:
    frame.output.array[...] = 0


LIBRARY = str(library_path())
"""Any library with a symbol: no kernel is called."""
PATTERN = Pattern((PatternNode("Erf", ["x"], ["y"]),), ("x",), "y")
EVERYTHING = {
    "furiosa_schemas": [
        Schema("Twin", "acme", "x:uint8 -> y:uint8", "axis:int?", since=2, compute=nothing),
        Schema("Norm", "acme", "x:any -> y:any"),
    ],
    "furiosa_operators": [
        OperatorSupport("Twin", nothing, domain="acme", since=2, until=4, kernels=("ACME_TWIN",)),
        OperatorSupport("Norm", nothing, domain="acme", pattern=PATTERN, priority=3),
    ],
    "furiosa_lowerings": [Lowering("Twin", nothing, "acme", priority=2)],
    "furiosa_kernels": [
        Kernel("ACME_SLOW", "x:u8 -> y:u8", reference),
        Kernel(
            "ACME_TWIN",
            "x:u8 -> y:u8",
            reference,
            attributes="axis",
            native=(
                NativeKernel(LIBRARY, "furiosa_version", isa="avx2"),
                NativeKernel(address=4096),
            ),
        ),
    ],
    "furiosa_passes": [GraphPass("tidy", nothing, Stage.FINISH, after=("other",))],
    "furiosa_targets": [Target("acme", pes=4)],
    "furiosa_cost_models": [CostModel("frugal", nothing, priority=1)],
    "furiosa_selections": [PartitionSelection("some", nothing)],
    "furiosa_calibrators": [Calibrator("wide", nothing)],
    "furiosa_commands": [CliCommand("hello", "greet", nothing, nothing)],
}


def listed(capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    assert main(["plugins", "list", "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_everything_a_plugin_gives_is_in_the_json(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    info = PluginInfo("acme", "1.5", targets=("acme",))
    install("acme", info, furiosa_compiled=lambda program: None, **EVERYTHING)
    found = listed(capsys)
    assert found["api_version"] == 1
    assert [one["name"] for one in found["plugins"]] == ["furiosa_ep", "acme"]
    plugin = found["plugins"][1]
    hooks = plugin.pop("hooks")
    assert plugin == {
        "name": "acme",
        "version": "1.5",
        "api_version": 1,
        "distribution": None,
        "module": "acme",
        "targets": ["acme"],
        "problem": None,
        "notifications": ["furiosa_compiled"],
    }
    assert hooks["furiosa_schemas"] == [
        {
            "domain": "acme",
            "op_type": "Twin",
            "since": 2,
            "operands": "x:uint8 -> y:uint8",
            "attributes": "axis:int?",
            "on_cpu": True,
        },
        {
            "domain": "acme",
            "op_type": "Norm",
            "since": 1,
            "operands": "x:any -> y:any",
            "attributes": "",
            "on_cpu": False,
        },
    ]
    twin = {"domain": "acme", "op_type": "Twin", "since": 2, "until": 4, "priority": 0}
    norm = {"domain": "acme", "op_type": "Norm", "since": 1, "until": None, "priority": 3}
    assert hooks["furiosa_operators"] == [
        {**twin, "kernels": ["ACME_TWIN"], "pattern": False},
        {**norm, "kernels": [], "pattern": True},
    ]
    assert hooks["furiosa_lowerings"] == [
        {**twin, "since": 1, "until": None, "priority": 2, "kernels": []}
    ]
    slow, fast = hooks["furiosa_kernels"]
    assert (slow["native"], slow["takes_gil"]) == ([], True)
    assert fast == {
        "opcode": "ACME_TWIN",
        "operands": "x:u8 -> y:u8",
        "attributes": "axis",
        "strided": False,
        "priority": 0,
        "native": [
            {"isa": "avx2", "library": LIBRARY, "symbol": "furiosa_version", "address": False},
            {"isa": "scalar", "library": None, "symbol": None, "address": True},
        ],
        "takes_gil": False,
    }
    assert hooks["furiosa_passes"] == [
        {"name": "tidy", "stage": "finish", "before": [], "after": ["other"]}
    ]
    assert hooks["furiosa_targets"][0]["pes"] == 4
    assert hooks["furiosa_cost_models"] == [{"name": "frugal", "priority": 1}]
    assert hooks["furiosa_selections"] == [{"name": "some"}]
    assert hooks["furiosa_calibrators"] == [{"name": "wide"}]
    assert hooks["furiosa_commands"] == [{"name": "hello", "help": "greet"}]


def test_every_hook_is_told() -> None:
    assert list(FIELDS) == list(DESCRIPTORS)
    assert set(EVERYTHING) == set(DESCRIPTORS)


def test_the_text_has_a_paragraph_for_each_plugin(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    info = PluginInfo("acme", "1.5", targets=("acme",))
    install("acme", info, furiosa_compiled=lambda program: None, **EVERYTHING)
    assert main(["plugins", "list"]) == 0
    built_in, acme = capsys.readouterr().out.split("\n\n")
    assert built_in.startswith("furiosa_ep 0.")
    assert " Conv 1+," in built_in
    assert all(len(line) <= 100 for line in built_in.splitlines())
    assert acme == (
        "acme 1.5 (plugin API 1, acme, for acme)\n"
        "  schemas        acme:Norm 1+ (NPU only), acme:Twin 2+\n"
        "  operators      acme:Norm 1+ (pattern; priority 3), acme:Twin 2-4 (kernels ACME_TWIN)\n"
        "  lowerings      acme:Twin 1+ (priority 2)\n"
        "  kernels        ACME_SLOW (NumPy: takes the GIL),\n"
        "                 ACME_TWIN (avx2 in libfuriosa_ep.so; scalar at an address)\n"
        "  passes         tidy (finish)\n"
        "  targets        acme\n"
        "  cost models    frugal (priority 1)\n"
        "  selections     some\n"
        "  calibrators    wide\n"
        "  commands       hello\n"
        "  notifications  furiosa_compiled\n"
    )


def test_the_package_that_installed_a_plugin_is_named(
    install: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from furiosa_ep.partitioner import plugins

    install("acme")
    monkeypatch.delenv("FURIOSA_PLUGINS")
    source = plugins.Source("acme", "acme", "acme-kernels 2.0")
    monkeypatch.setattr(plugins, "_installed", lambda: iter([source]))
    assert listed(capsys)["plugins"][1]["distribution"] == "acme-kernels 2.0"
    assert main(["plugins", "list"]) == 0
    assert "acme 1.5 (plugin API 1, acme-kernels 2.0)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("info", "hooks", "version", "problem"),
    [
        (PluginInfo("acme", "2.0", 9), {}, "2.0", "was written for version 9"),
        (None, {"furiosa_kernelz": nothing}, None, "unknown hook furiosa_kernelz"),
        (None, {"furiosa_passes": [1]}, "1.5", "expected GraphPass, found int"),
        (
            None,
            {"furiosa_operators": [OperatorSupport("Conv", nothing)]},
            "1.5",
            "both 'furiosa_ep' and 'acme' support opset",
        ),
        (
            None,
            {"furiosa_selections": [PartitionSelection("all", nothing)]},
            "1.5",
            "'all' is taken by plugin 'furiosa_ep'",
        ),
    ],
)
def test_problems_are_listed_and_fail(
    info: PluginInfo | None,
    hooks: dict[str, Any],
    version: str | None,
    problem: str,
    install: Install,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install("acme", info, **hooks)
    plugin = listed(capsys, code=1)["plugins"][1]
    assert plugin["version"] == version
    assert problem in plugin["problem"]
    assert main(["plugins", "list"]) == 1
    assert "PROBLEM        " in capsys.readouterr().out


def test_a_plugin_that_cannot_be_imported_is_listed(
    install: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme")
    monkeypatch.setenv("FURIOSA_PLUGINS", "acme,no_such_module")
    plugin = listed(capsys, code=1)["plugins"][2]
    assert plugin["name"] == "no_such_module"
    assert plugin["problem"].startswith("ModuleNotFoundError")
    assert not any(plugin["hooks"].values())


def test_strict_mode_names_the_first_plugin_that_fails(
    install: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme", furiosa_passes=[1])
    monkeypatch.setenv("FURIOSA_STRICT_PLUGINS", "1")
    assert main(["plugins", "list"]) == 1
    assert "furiosa: plugin 'acme': furiosa_passes" in capsys.readouterr().err


@pytest.mark.parametrize("strict", ["0", "1"])
def test_doctor_examines_plugins(
    strict: str,
    install: Install,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install("acme", **EVERYTHING)
    install("bad", furiosa_passes=[1])
    monkeypatch.setenv("FURIOSA_STRICT_PLUGINS", strict)
    monkeypatch.setattr(doctor, "CHECKS", (doctor._environment, doctor._plugins))
    assert main(["doctor"]) == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "ok FURIOSA_PLUGINS acme,bad" in lines
    assert f"ok FURIOSA_STRICT_PLUGINS {strict}" in lines
    if strict == "1":
        assert any(line.startswith("PROBLEM plugins plugin 'bad'") for line in lines)
        return
    assert (
        "ok plugin acme 1.5: 2 schemas, 2 operators, 1 lowering, 2 kernels, 1 pass, 1 target, "
        "1 cost model, 1 selection, 1 calibrator, 1 command"
    ) in lines
    (problem,) = (i for i, line in enumerate(lines) if line.startswith("PROBLEM"))
    assert "bad 1.5: furiosa_passes: expected GraphPass, found int" in lines[problem]
    assert "FURIOSA_DISABLE_PLUGINS=bad" in lines[problem + 1]
