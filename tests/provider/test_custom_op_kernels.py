"""Plugins' functions that run nodes on the CPU: results, errors, threads and processes."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

import furiosa_ep
from furiosa_ep.partitioner.schema import Schema
from tests.provider.conftest import LoadSchemas, RunPython
from tests.provider.plugin_operators import (
    CLIP_SUM,
    X,
    by_device,
    by_name,
    cpu_session,
    model,
    node,
    sum_model,
    unary,
)

PLUGIN = """
import numpy as np
from furiosa_ep.partitioner.descriptors import PluginInfo
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.schema import Schema

@hookimpl
def furiosa_plugin():
    return PluginInfo('hello', '1.0')

@hookimpl
def furiosa_schemas():
    compute = lambda inputs, attributes: inputs[0] + attributes['low']
    return [Schema('Op', 'hello', 'x:float -> z:float', 'low:int', compute=compute),
            Schema('NpuOnly', 'hello', 'x:float -> z:float')]
"""
PRELUDE = """
import os, sys
sys.path.insert(0, {folder!r})
os.environ['FURIOSA_PLUGINS'] = 'hello_plugin'
import numpy as np, onnxruntime as ort, furiosa_ep
from tests.provider.plugin_operators import *
furiosa_ep.register()
made = unary('Op', low=5)
"""


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda inputs, _: 1 / 0, "compute failed: ZeroDivisionError: division by zero"),
        (lambda inputs, _: None, "compute failed: TypeError: 'NoneType' object is not iterable"),
        (lambda inputs, _: [], "output 'z' was not computed"),
        (lambda inputs, _: [None], "output 'z' was not computed"),
        (lambda inputs, _: [X.astype(int)], "output 'z' must be float32, compute gave int64"),
        (lambda inputs, _: inputs[0].fill(0), "compute failed: ValueError: .*read-only"),
    ],
)
def test_a_failing_computation_is_an_error_of_the_run(
    load: LoadSchemas, compute: Any, message: str
) -> None:
    load(Schema("Op", "hello", "x:float -> z:float", compute=compute))
    session = by_name(unary())
    where = r"operator hello:Op of plugin 'hello', node 'Op\(z\)': "
    with pytest.raises(InvalidArgument, match=where + message):
        session.run(None, {"x": X})


def test_arrays_of_any_layout_and_size_are_taken(load: LoadSchemas) -> None:
    results = [
        X.T,
        np.broadcast_to(np.float32(3), (2, 4)),
        np.array(5, np.float32),
        np.zeros((0, 3), np.float32),
        X[::-1, ::2],
    ]
    found = iter(results)
    shape = lambda *_: ()  # noqa: E731
    compute = lambda inputs, _: next(found)  # noqa: E731
    load(Schema("Op", "hello", "x:float -> z:float", shape=shape, compute=compute))
    session = by_name(unary(shape=("N", 3)))
    for expected in results:
        result = session.run(None, {"x": np.zeros((0, 3), np.float32)})[0]
        assert result.shape == expected.shape
        np.testing.assert_array_equal(result, expected)


def test_strings_are_refused(load: LoadSchemas) -> None:
    load(Schema("Op", "hello", "x:any -> z:any", compute=lambda inputs, _: inputs[0]))
    session = by_name(model([node("Op", "x")], {"x": (TensorProto.STRING, (1,))}))
    with pytest.raises(InvalidArgument, match="tensors of string are not supported"):
        session.run(None, {"x": np.array(["a"], object)})


def test_threads_compute_at_the_same_time(load: LoadSchemas) -> None:
    inside = threading.Barrier(3, timeout=30)

    def compute(inputs: Sequence[Any], _: Mapping[str, Any]) -> Any:
        inside.wait()  # passes when all three are here
        return inputs[0] * 2

    load(Schema("Op", "hello", "x:float -> z:float", compute=compute))
    session = by_name(unary(shape=("N", 3)))
    results: dict[int, Any] = {}

    def run(rows: int) -> None:
        results[rows] = session.run(None, {"x": np.full((rows, 3), rows, np.float32)})[0]

    threads = [threading.Thread(target=run, args=(rows,)) for rows in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rows in (1, 2, 3):
        np.testing.assert_array_equal(results[rows], np.full((rows, 3), 2 * rows))


def test_sessions_outlive_the_registration(load: LoadSchemas) -> None:
    load(CLIP_SUM)
    sessions = [create(sum_model()) for create in (by_name, by_device, cpu_session)]
    furiosa_ep.unregister()
    for session in sessions:
        np.testing.assert_array_equal(session.run(None, {"x": X})[0], np.clip(2 * X, 2, 7))
    assert cpu_session(sum_model()).run(None, {"x": X})[0].shape == (2, 3)
    furiosa_ep.register()
    by_device(sum_model()).run(None, {"x": X})


@pytest.fixture
def run_with_plugin(tmp_path: Any, run_plain_python: RunPython) -> RunPython:
    """Runs code in a new interpreter that finds a plugin by itself."""
    (tmp_path / "hello_plugin.py").write_text(PLUGIN)
    prelude = PRELUDE.format(folder=str(tmp_path))
    return lambda code: run_plain_python(prelude + code)


def test_everything_together(run_with_plugin: RunPython) -> None:
    result = run_with_plugin(
        "print(by_name(made).run(None, {'x': X})[0][0].tolist())\n"
        "print(furiosa_ep.verify(made).equal)\n"
        "print(furiosa_ep.explain(unary('NpuOnly')))\n"
        "try: by_name(unary('NpuOnly'))\n"
        "except Exception as error: print(error)\n"
    )
    assert result.returncode == 0, result.stderr
    values, equal, *rest = result.stdout.splitlines()
    assert values == "[5.0, 6.0, 7.0]"
    assert equal == "True"
    assert "No plugin supports hello:NpuOnly" in "".join(rest[:-1])
    assert (
        "operator hello:NpuOnly of plugin 'hello' runs on the NPU only, which does not take node "
        "'NpuOnly(z)': not-registered: No plugin supports hello:NpuOnly." in rest[-1]
    )


def test_a_program_under_furiosa_run_is_verified(run_with_plugin: RunPython) -> None:
    result = run_with_plugin(
        "import subprocess\n"
        "os.environ['PYTHONPATH'] = os.pathsep.join(sys.path)\n"
        "program = 'import numpy, onnxruntime as ort; '\n"
        "program += f'ort.InferenceSession({made!r}).run(None, '\n"
        "program += '{\"x\": numpy.zeros((2, 3), numpy.float32)})'\n"
        "command = [sys.executable, '-m', 'furiosa_ep.cli', 'run', '--verify', '-c', program]\n"
        "subprocess.run(command, check=True)\n"
    )
    assert result.returncode == 0, result.stderr
    assert "1 output: equal the CPU provider's on every bit" in result.stderr


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "del session", "furiosa_ep.unregister()"])
def test_exit_with_a_live_session(end: str, run_with_plugin: RunPython) -> None:
    result = run_with_plugin(
        "import builtins\n"
        "session = by_name(made)\n"
        "session.run(None, {'x': X})\n"
        "builtins.kept = session, by_device(made), cpu_session(made)\n" + end
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_after_the_interpreter_began_to_end_the_reason_is_said(run_with_plugin: RunPython) -> None:
    result = run_with_plugin(
        "session = by_name(made)\n"
        "__import__('ctypes').CDLL(furiosa_ep.get_library_path()).furiosa_set_compiler(None)\n"
        "for action in (lambda: session.run(None, {'x': X}), lambda: cpu_session(made)):\n"
        "    try: action()\n"
        "    except Exception as error: print(error)\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("no compiler in this process") == 2


def test_a_forked_child_can_compute(run_with_plugin: RunPython) -> None:
    result = run_with_plugin(
        "session = by_name(made)\n"
        "session.run(None, {'x': X})\n"
        "child = os.fork()\n"
        "assert session.run(None, {'x': X})[0][0].tolist() == [5, 6, 7]\n"
        "by_name(made).run(None, {'x': X})\n"
        "if child == 0: os._exit(5)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "5", result.stderr


def test_many_kernels_and_sessions_are_released(load: LoadSchemas) -> None:
    load(CLIP_SUM)
    from furiosa_ep.provider.library import install_compiler

    callbacks = install_compiler()._loaded_operators()
    before = len(callbacks._kernels)
    sessions = [create(sum_model()) for create in (by_name, by_device, cpu_session)]
    assert len(callbacks._kernels) == before + 3
    del sessions
    assert len(callbacks._kernels) == before
