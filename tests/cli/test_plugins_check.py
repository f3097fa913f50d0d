"""``furiosa plugins check``."""

import json
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from furiosa_ep.cli.main import main
from furiosa_ep.cli.plugins.consistency import findings
from furiosa_ep.kernels.kernel import Kernel, NativeKernel
from furiosa_ep.partitioner.descriptors import GraphPass, Lowering, PluginInfo, Stage
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.plugins import BUILT_IN_MODULE, Source, load, registry_of
from furiosa_ep.partitioner.schema import Schema
from furiosa_ep.partitioner.support import OperatorSupport
from tests.device_emulator.native_kernels import compile_c

FAULTY = Path(__file__).parents[1] / "device_emulator" / "faulty_kernels.c"
PLUGIN = """
from furiosa_ep.plugin import Kernel, KernelCase, NativeKernel, PluginInfo, hookimpl, random_tensor

def invert(frame):
    frame.output.array[...] = 255 - frame.inputs[0].array

def cases(size, random):
    x = random_tensor(random, (size,))
    yield KernelCase([x], x, {"any": 1})

def kernel(library, *symbols, isas=("scalar", "avx2"), **changes):
    native = tuple(NativeKernel(library, s, isa=isa) for s, isa in zip(symbols, isas))
    values = {"attributes": "any", "workspace": 10, "cases": cases, **changes}
    return Kernel("ACME_INVERT", "x:u8 -> y:u8", invert, native=native, **values)

@hookimpl
def furiosa_plugin():
    return PluginInfo("acme", "2.0")

@hookimpl
def furiosa_kernels():
    return [kernel]
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("faulty") / "faulty_kernels.so"
    return compile_c(FAULTY, target, "-O1", "-shared", "-fPIC")


Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the module acme."""
    path = [str(tmp_path), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))

    def write(text: str) -> None:
        (tmp_path / "acme.py").write_text(text)

    return write


@pytest.fixture
def plugin(write: Write) -> Callable[[str], None]:
    """Writes the module acme with a kernel."""

    def plugin(kernel: str) -> None:
        write(PLUGIN.replace("return [kernel]", f"return [{kernel}]"))

    return plugin


def check(capsys: pytest.CaptureFixture[str], *options: str, name: str = "acme") -> tuple[int, str]:
    code = main(["plugins", "check", name, *options])
    return code, capsys.readouterr().out


def test_a_good_plugin_passes(
    plugin: Write, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin(f"kernel({str(library)!r}, 'good')")
    code, text = check(capsys)
    assert code == 0, text
    assert text.splitlines() == [
        "acme 2.0: 1 kernel",
        "ok       ACME_INVERT, faulty_kernels.so:good (scalar): 80 calls on 20 cases, equal on "
        "every bit",
        "note     kernel ACME_INVERT is named in no operator's `kernels`",
        "ok       all that was checked",
    ]


CRASHES = "crashes (SIGSEGV)"
ENDS, BEGINS = "; buffers end at a page that faults", "; buffers begin behind a page that faults"


@pytest.mark.parametrize(
    ("symbol", "what", "where"),
    [
        ("reads_behind", CRASHES, ENDS),
        ("reads_before", CRASHES, BEGINS),
        ("writes_behind", CRASHES, ENDS),
        ("reads_behind_attributes", CRASHES, ENDS),
        ("writes_behind_error", CRASHES, ENDS),
        ("never_returns", "has not returned after 3 seconds", ENDS),
    ],
)
def test_a_function_that_ends_its_process_is_named_with_the_call(
    symbol: str,
    what: str,
    where: str,
    plugin: Write,
    library: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plugin(f"kernel({str(library)!r}, {symbol!r})")
    code, text = check(capsys, "--json", "--timeout", "3" if symbol == "never_returns" else "60")
    assert code == 1
    (kernel,) = json.loads(text)["kernels"]
    (native,) = kernel["native"]
    assert native["status"] == "failed"
    assert native["function"] == f"faulty_kernels.so:{symbol}"
    (fault,) = native["faults"]
    assert fault["what"] == what
    assert fault["case"].startswith("x uint8[1] (")
    assert fault["case"].endswith(where)


def test_each_function_is_checked_for_itself(
    plugin: Write,
    library: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin(f"kernel({str(library)!r}, 'reads_behind', 'good')")
    monkeypatch.setenv("FURIOSA_ISA", "scalar")
    code, text = check(capsys)
    assert code == 1
    assert (
        "PROBLEM  ACME_INVERT, faulty_kernels.so:reads_behind (scalar): crashes (SIGSEGV)" in text
    )
    assert (
        "skipped  ACME_INVERT, faulty_kernels.so:good (avx2): this machine lacks the instruction "
        "set" in text
    )


def test_what_differs_is_told_with_the_case(
    plugin: Write, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin(f"kernel({str(library)!r}, 'leaves_the_tail')")
    code, text = check(capsys)
    assert code == 1
    assert "(scalar): does not write y[16] (1 of 17 elements are wrong)\n" in text
    assert "\n         x uint8[17] (" in text


def test_a_kernel_without_cases_is_a_problem(
    plugin: Write, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin(f"kernel({str(library)!r}, 'good', cases=None)")
    code, text = check(capsys)
    assert code == 1
    assert "skipped  ACME_INVERT, faulty_kernels.so:good (scalar)\n" in text
    assert "PROBLEM  kernel ACME_INVERT: has no cases" in text
    assert "give Kernel.cases" in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import os; os._exit(3)", "ends the process with exit code 3 when it is loaded"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os.kill(os.getpid(), 11)", "crashes (SIGSEGV) when it is loaded"),
        (
            "from furiosa_ep.plugin import PluginInfo, hookimpl\n"
            "furiosa_plugin = hookimpl(lambda: PluginInfo('acme', '1', 99))",
            "was written for version 99 of the plugin API",
        ),
    ],
)
def test_a_plugin_that_does_not_load_is_a_problem(
    text: str, problem: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(text)
    code, shown = check(capsys)
    assert code == 1
    assert f"PROBLEM  {problem}" in shown


def test_other_plugins_are_not_loaded(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(PLUGIN.replace("return [kernel]", "return []"))
    monkeypatch.setenv("FURIOSA_PLUGINS", "no_such_plugin")
    monkeypatch.setenv("FURIOSA_DISABLE_PLUGINS", "acme")
    monkeypatch.setenv("FURIOSA_STRICT_PLUGINS", "1")
    assert check(capsys) == (0, "acme 2.0\nok       all that was checked\n")


def test_the_built_in_plugin_passes(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = check(capsys, name="furiosa_ep")
    assert code == 0, text
    assert "108 operators" in text


def test_a_name_that_nothing_has_is_an_input_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check", "no_such.plugin"]) == 2
    assert "no plugin and no module 'no_such.plugin'" in capsys.readouterr().err


def nothing(*_: Any) -> Any:
    return None


def undocumented(*_: Any) -> Any:
    return None


KERNEL = Kernel("ACME_ONE", "x:u8 -> y:u8", nothing, native=(NativeKernel(address=1),))
TAKEN = OperatorSupport("Twin", nothing, kernels=("ACME_ONE",))

OWN = OperatorSupport("Twin", nothing, domain="acme")
SCHEMA = Schema("Twin", "acme", "x:any -> y:any", compute=nothing)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"operators": [TAKEN], "kernels": [KERNEL]}, []),
        (
            {"operators": [TAKEN]},
            ["! Twin calls kernel ACME_ONE, which no plugin has"],
        ),
        (
            {"operators": [OperatorSupport("Twin")]},
            ["! Twin has no lowering, neither its own nor a Lowering"],
        ),
        (
            {"operators": [OperatorSupport("Twin")], "lowerings": [Lowering("Twin", nothing)]},
            [],
        ),
        (
            {"lowerings": [Lowering("Twin", nothing, "acme", kernels=("ACME_ONE",))]},
            [
                "! acme:Twin calls kernel ACME_ONE, which no plugin has",
                "! lowering of acme:Twin: no plugin takes the operator",
            ],
        ),
        ({"lowerings": [Lowering("Conv", nothing, priority=1)]}, []),
        (
            {"operators": [OperatorSupport("Twin", nothing, since=3, until=2)]},
            ["! Twin: no opset is in 3 to 2"],
        ),
        (
            {"operators": [OperatorSupport("Twin", nothing, (undocumented,))]},  # type: ignore[arg-type]
            ["! Twin: constraint undocumented has no docstring, which users read"],
        ),
        (
            {"kernels": [KERNEL]},
            ["kernel ACME_ONE is named in no operator's `kernels`"],
        ),
        (
            {"operators": [TAKEN], "kernels": [Kernel("ACME_ONE", "x:u8 -> y:u8", nothing)]},
            [
                "kernel ACME_ONE has no native function: it takes Python's GIL, and runs only in "
                "sessions with python_kernels=allow"
            ],
        ),
        (
            {
                "operators": [TAKEN],
                "kernels": [
                    Kernel(
                        "ACME_ONE",
                        "x:u8 -> y:u8",
                        nothing,
                        native=(NativeKernel(address=1, isa="avx2"),),
                    )
                ],
            },
            ["kernel ACME_ONE has no native function for machines without avx2"],
        ),
        (
            {
                "passes": [
                    GraphPass("one", nothing, after=("two", "nowhere")),
                    GraphPass("two", nothing),
                ]
            },
            ["pass one: there is no pass 'nowhere' to run beside"],
        ),
        (
            {
                "passes": [
                    GraphPass("one", nothing, before=("two",)),
                    GraphPass("two", nothing, Stage.FUSE),
                ]
            },
            ["! pass one of stage simplify: pass 'two' is of stage fuse"],
        ),
        (
            {"info": PluginInfo("acme", "1", targets=("warboy", "renegade"))},
            ["! target 'renegade' is not known: expected one of warboy, warboy-2pe"],
        ),
        ({"operators": [OWN], "schemas": [SCHEMA]}, []),
        (
            {"operators": [OWN]},
            [
                "acme:Twin has no Schema: ONNX Runtime loads no model with it unless something "
                "else declares it"
            ],
        ),
        (
            {"schemas": [SCHEMA]},
            ["schema acme:Twin: the plugin does not take the operator"],
        ),
        (
            {"operators": [OWN], "schemas": [Schema("Twin", "acme", "x:any -> y:any")]},
            [
                "schema acme:Twin has no compute: what the NPU declines fails the session",
            ],
        ),
    ],
)
def test_what_does_not_fit_is_found(given: dict[str, Any], expected: list[str]) -> None:
    module = types.ModuleType("acme")
    info = given.pop("info", PluginInfo("acme", "1"))
    module.__dict__["furiosa_plugin"] = hookimpl(lambda: info)
    for hook, descriptors in given.items():
        module.__dict__[f"furiosa_{hook}"] = hookimpl(lambda found=descriptors: found)
    sources = [Source("furiosa_ep", BUILT_IN_MODULE), Source("acme", "")]
    loaded = tuple(load(sources, {"acme": module}))
    assert not loaded[1].problem
    found = findings(loaded[1], registry_of(loaded))
    assert [("! " if one.is_problem else "") + one.what for one in found] == expected
