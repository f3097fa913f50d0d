"""Kernels of plugins, native ones and NumPy ones, called by Programs."""

import ctypes
import dataclasses
import gc
import platform
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa_ep.device_emulator import (
    Executable,
    KernelError,
    checksum,
    load_library,
    profile_commands,
    register_kernel,
    registered_kernel,
    run_reference,
    unregister_kernel,
)
from furiosa_ep.kernels.kernel import Kernel, KernelFrame, NativeKernel
from furiosa_ep.program import CallValues, DType, Program, ProgramError
from tests.device_emulator.cases import Case, Layout, check, contiguous, layouts
from tests.device_emulator.native_kernels import (
    FAIL,
    MEET,
    SUM_ROWS,
    WEIGH,
    compiled_kernels,
    natively,
    registered,
)

Array = npt.NDArray[Any]
Quantization = tuple[float, int]
UNQUANTIZED: Quantization = (1.0, 0)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled_kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(params=["native", "numpy"])
def either(request: pytest.FixtureRequest) -> Any:
    """Makes a kernel one that runs natively, or one that runs in NumPy."""
    if request.param == "numpy":
        return lambda kernel: kernel
    library = request.getfixturevalue("library")
    return lambda kernel: natively(kernel, library)


@pytest.fixture
def weigh(either: Any) -> Iterator[Kernel]:
    with registered(either(WEIGH)) as kernel:
        yield kernel


@pytest.fixture
def sum_rows(either: Any) -> Iterator[Kernel]:
    with registered(either(SUM_ROWS)) as kernel:
        yield kernel


def call(
    opcode: str,
    quantization: list[Quantization],
    attributes: list[int | float] | None = None,
    workspace: int = 0,
) -> Case:
    """A CALL of a kernel, whose operands are still to come."""
    values = CallValues(quantization, attributes or []).words()
    case = Case("CALL", {"workspace": workspace, "values": values})
    case.constant(np.frombuffer(opcode.encode(), np.uint8))
    return case


def copy_program(
    opcode: str, attributes: list[int | float] | None = None, size: int = 4
) -> Program:
    """A CALL of a kernel with the operands "x:u8 -> y:u8"."""
    case = call(opcode, [UNQUANTIZED] * 2, attributes)
    case.input(np.zeros(size, np.uint8), contiguous((size,)))
    return case.program((size,), contiguous((size,)))


@st.composite
def weigh_calls(draw: st.DrawFn, strided: bool) -> tuple[Program, list[Array]]:
    dims = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = st.integers(0, 255)
    quantization = [(0.05, draw(codes)), UNQUANTIZED, (0.1, draw(codes))]
    case = call("TEST_WEIGH", quantization, [draw(st.integers(-3, 3)), 0.25])
    layout = draw(layouts(dims, broadcast=True)) if strided else contiguous(dims)
    case.input(rng.integers(0, 256, dims).astype(np.uint8), layout)
    if draw(st.booleans()):
        last = (dims[-1],)
        gamma = rng.normal(0, 1, last).astype(np.float32)
        case.input(gamma, draw(layouts(last, broadcast=True)) if strided else contiguous(last))
    else:
        case.operands.append(None)
    return case.program(dims, draw(layouts(dims)) if strided else contiguous(dims)), case.inputs


@pytest.mark.parametrize("strided", [False, True])
def test_kernels_give_the_bits_of_their_reference(weigh: Kernel, strided: bool) -> None:
    @settings(max_examples=40, deadline=None)
    @given(weigh_calls(strided))
    def run(drawn: tuple[Program, list[Array]]) -> None:
        check(*drawn)

    run()


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 64), (100, 3)])
def test_workspace_and_threads(sum_rows: Kernel, rows: int, columns: int) -> None:
    workspace = sum_rows.workspace_size([(rows, columns), (rows + 1,)])
    case = call("TEST_SUM_ROWS", [UNQUANTIZED] * 2, workspace=workspace)
    x = np.random.default_rng(rows).integers(0, 256, (rows, columns)).astype(np.uint8)
    case.input(x, contiguous(x.shape))
    program = case.program((rows + 1,), contiguous((rows + 1,)), DType.I32)
    check(program, case.inputs)
    want = run_reference(program, case.inputs)[0]
    assert want[-1] == x.sum()
    executable = Executable(program.to_bytes(checksum))
    executable.profile(case.inputs, rounds=3, threads=3)
    with ThreadPoolExecutor(4) as pool:
        for (got,) in pool.map(lambda _: executable.run(case.inputs), range(40)):
            np.testing.assert_array_equal(got, want)


def test_native_kernels_run_at_the_same_time(library: Path) -> None:
    with registered(natively(MEET, library)):
        executable = Executable(copy_program("TEST_MEET", size=1).to_bytes(checksum))
        with ThreadPoolExecutor(4) as pool:
            four = [pool.submit(executable.run, [np.array([4], np.uint8)]) for _ in range(4)]
            assert [int(one.result()[0][0]) for one in four] == [4] * 4
        del executable


def test_an_address_is_a_kernel(library: Path) -> None:
    code = ctypes.CDLL(str(library))
    address = ctypes.cast(code.sum_rows, ctypes.c_void_p).value or 0
    kernel = dataclasses.replace(SUM_ROWS, native=(NativeKernel(address=address, keep=code),))
    with registered(kernel):
        case = call("TEST_SUM_ROWS", [UNQUANTIZED] * 2, workspace=8)
        case.input(np.arange(6, dtype=np.uint8).reshape(2, 3), contiguous((2, 3)))
        check(case.program((3,), contiguous((3,)), DType.I32), case.inputs)


def test_failure_names_plugin_kernel_and_node(library: Path) -> None:
    where = "plugin 'tester', kernel 'TEST_FAIL', node 'case': "
    with registered(natively(FAIL, library)):
        for code, reason in [(1, "café ?"), (-5, "it returned -5")]:
            executable = Executable(copy_program("TEST_FAIL", [code]).to_bytes(checksum))
            for _ in range(2):
                with pytest.raises(RuntimeError, match=re.escape(where + reason) + "$"):
                    executable.run([np.zeros(4, np.uint8)])
        del executable


@pytest.mark.parametrize(
    ("error", "argument", "text"),
    [
        (ValueError, "axis 3", "ValueError: axis 3"),
        (KeyboardInterrupt, "", "KeyboardInterrupt: "),
        (KernelError, "long " * 1000, "KernelError: " + ("long " * 1000)[:1010]),
        (ValueError, "\udcff ä", "ValueError: ? ä"),
    ],
)
def test_exception_of_a_reference_is_the_error(
    error: type[BaseException], argument: str, text: str
) -> None:
    def fail(frame: KernelFrame) -> None:
        raise error(argument)

    with registered(Kernel("TEST_RAISES", "x:u8 -> y:u8", fail)):
        program = copy_program("TEST_RAISES").to_bytes(checksum)
        expected = f"plugin 'tester', kernel 'TEST_RAISES', node 'case': {text}"
        with pytest.raises(RuntimeError, match=re.escape(expected) + "$"):
            Executable(program).run([np.zeros(4, np.uint8)])


def test_operands_of_a_reference_are_read_only() -> None:
    def write(frame: KernelFrame) -> None:
        (x,) = frame.inputs
        assert x is not None
        x.array[...] = 0

    with registered(Kernel("TEST_WRITES", "x:u8 -> y:u8", write)):
        program = copy_program("TEST_WRITES")
        with pytest.raises(RuntimeError, match="ValueError: assignment destination is read-only"):
            Executable(program.to_bytes(checksum)).run([np.zeros(4, np.uint8)])
        with pytest.raises(ValueError, match="read-only"):
            run_reference(program, [np.zeros(4, np.uint8)])


def test_row_major_kernels_get_nothing_else(sum_rows: Kernel) -> None:
    case = call("TEST_SUM_ROWS", [UNQUANTIZED] * 2)
    case.input(np.zeros((2, 3), np.uint8), Layout((1, 2), 0, 6))
    program = case.program((3,), contiguous((3,)), DType.I32).to_bytes(checksum)
    with pytest.raises(
        ProgramError, match="operand x: dims 2x3 with strides 1x2: expected row-major"
    ):
        Executable(program)


def test_missing_kernel() -> None:
    program = copy_program("TEST_NOWHERE")
    with pytest.raises(
        ProgramError,
        match=r"CALL 'case': no kernel 'TEST_NOWHERE' is registered: install the plugin",
    ):
        Executable(program.to_bytes(checksum))
    with pytest.raises(KernelError, match="no kernel 'TEST_NOWHERE' is registered"):
        run_reference(program, [np.zeros(4, np.uint8)])
    with pytest.raises(KernelError, match="no kernel 'TEST_NOWHERE' is registered"):
        unregister_kernel("TEST_NOWHERE")


def test_registering_again_does_nothing(library: Path) -> None:
    with registered(natively(WEIGH, library)):
        register_kernel(natively(WEIGH, library), "tester")
        assert registered_kernel("TEST_WEIGH") == natively(WEIGH, library)
        with pytest.raises(KernelError, match="of plugin 'other': plugin 'tester' has registered"):
            register_kernel(WEIGH, "other")
    with pytest.raises(KernelError):
        registered_kernel("TEST_WEIGH")


def test_a_kernel_in_use_stays() -> None:
    register_kernel(MEET, "tester")
    executable = Executable(copy_program("TEST_MEET").to_bytes(checksum))
    with pytest.raises(KernelError, match="in use by 1 commands"):
        unregister_kernel("TEST_MEET")
    gc.collect()  # what the kernel is made of is no garbage
    x = np.arange(4, dtype=np.uint8)
    np.testing.assert_array_equal(executable.run([x])[0], x)
    del executable
    unregister_kernel("TEST_MEET")


def test_what_is_no_kernel_is_refused(library: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("no library")
    for native, reason in (
        (NativeKernel(tmp_path / "none.so", "f"), f"no library {tmp_path / 'none.so'}"),
        (NativeKernel(tmp_path, "f"), f"no library {tmp_path}"),
        (NativeKernel(text, "f"), f"library {text}: {text}: "),
        (NativeKernel(library, "wiegh"), f"library {library} has no symbol 'wiegh'"),
    ):
        kernel = dataclasses.replace(WEIGH, native=(native,))
        expected = re.escape(f"plugin 'tester', kernel 'TEST_WEIGH': {reason}")
        with pytest.raises(KernelError, match=expected):
            register_kernel(kernel, "tester")
    unknown = Kernel("TEST_DTYPE", "x:u9 -> y:u8", WEIGH.reference)
    with pytest.raises(KernelError, match="operands 'x:u9 -> y:u8': expected such as"):
        register_kernel(unknown, "tester")


def test_all_functions_are_registered_or_none(library: Path) -> None:
    twice = dataclasses.replace(WEIGH, native=(NativeKernel(library, "weigh"),) * 2)
    with pytest.raises(KernelError, match="has registered it for scalar before"):
        register_kernel(twice, "tester")
    with registered(natively(WEIGH, library)):
        pass


@pytest.fixture
def isa() -> Iterator[Any]:
    native = load_library()
    yield lambda name: native.furiosa_set_isa(name.encode())
    native.furiosa_set_isa(None)


def test_the_reference_stands_in_where_no_function_can_run(library: Path, isa: Any) -> None:
    if platform.machine() != "x86_64" or isa("avx2"):
        pytest.skip("needs a CPU with AVX2")
    # The function is one that fails.
    kernel = dataclasses.replace(FAIL, native=(NativeKernel(library, "fail", isa="avx2"),))
    with registered(kernel):
        program = copy_program("TEST_FAIL", [1]).to_bytes(checksum)
        with pytest.raises(RuntimeError, match="café"):
            Executable(program).run([np.zeros(4, np.uint8)])
        isa("scalar")
        Executable(program).run([np.zeros(4, np.uint8)])


def test_functions_for_other_machines_are_not_looked_for(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = natively(WEIGH, library)
    for machine, other in (("x86_64", "neon"), ("aarch64", "avx512vnni")):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        elsewhere = NativeKernel(library, "not_there", isa=other)
        with registered(dataclasses.replace(kernel, native=(*kernel.native, elsewhere))):
            pass


def test_profile_names_the_kernel(sum_rows: Kernel) -> None:
    case = call("TEST_SUM_ROWS", [UNQUANTIZED] * 2, workspace=64)
    case.input(np.zeros((2, 3), np.uint8), contiguous((2, 3)))
    program = case.program((3,), contiguous((3,)), DType.I32).to_bytes(checksum)
    measured = profile_commands(program, case.inputs, rounds=2)
    assert [one.opcode for one in measured] == ["FILL", "TEST_SUM_ROWS"]
    assert measured[1].shapes == ((13,), (2, 3), (3,))


def test_references_run_on_several_threads() -> None:
    seen = set()

    def remember(frame: KernelFrame) -> None:
        seen.add(threading.get_ident())
        (x,) = frame.inputs
        assert x is not None
        frame.output.array[...] = x.array + 1

    with registered(Kernel("TEST_REMEMBERS", "x:u8 -> y:u8", remember)):
        executable = Executable(copy_program("TEST_REMEMBERS").to_bytes(checksum))
        inputs = [[np.full(4, value, np.uint8)] for value in range(200)]
        with ThreadPoolExecutor(4) as pool:
            outputs = [int(y[3]) for (y,) in pool.map(executable.run, inputs)]
        assert outputs == [value + 1 for value in range(200)]
        assert threading.get_ident() not in seen
        del executable
