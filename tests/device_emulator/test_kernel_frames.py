"""The call frame: its records, its header, and calls of functions through it."""

import ctypes
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from furiosa_ep.device_emulator import KernelError, call_kernel, checksum
from furiosa_ep.device_emulator import kernel_records as records
from furiosa_ep.kernels.kernel import Kernel, KernelFrame, KernelTensor, NativeKernel
from furiosa_ep.program import CallValues, Command, DType, Program, ProgramError, Storage, Tensor
from tests.device_emulator.native_kernels import (
    FAIL,
    INCLUDE,
    SUM_ROWS,
    WEIGH,
    compile_c,
    compiled_kernels,
    natively,
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled_kernels(tmp_path_factory.mktemp("kernels"))


def test_records_are_those_of_the_header(tmp_path: Path) -> None:
    structures: dict[str, Any] = {
        "furiosa_tensor": records.TensorRecord,
        "furiosa_attribute": records.AttributeRecord,
        "furiosa_kernel_frame": records.FrameRecord,
        "furiosa_kernel": records.KernelRecord,
    }
    wanted: dict[str, int] = {
        "FURIOSA_KERNEL_VERSION": records.KERNEL_VERSION,
        "FURIOSA_KERNEL_STRIDED": records.STRIDED,
        "FURIOSA_KERNEL_HOLDS_GIL": records.HOLDS_GIL,
        **{f"FURIOSA_{dtype.name}": dtype.value for dtype in DType},
    }
    for name, record in structures.items():
        wanted[f"sizeof({name})"] = ctypes.sizeof(record)
        for field, *_ in record._fields_:
            wanted[f"offsetof({name}, {field})"] = getattr(record, field).offset
    source = tmp_path / "sizes.c"
    body = "".join(f'  printf("%d\\n", (int)({one}));\n' for one in wanted)
    source.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n\n#include "furiosa_ep.h"\n\n'
        f"int main(void) {{\n{body}  return 0;\n}}\n"
    )
    program = compile_c(source, tmp_path / "sizes")
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    assert dict(zip(wanted, map(int, printed.split()), strict=True)) == wanted


def test_the_example_of_the_header_is_a_kernel(tmp_path: Path) -> None:
    text = (INCLUDE / "furiosa_ep.h").read_text()
    example = re.search(r"^ \*   (#include .*?^ \*   }$)", text, re.M | re.S)
    assert example is not None
    source = tmp_path / "example.c"
    lines = [line.removeprefix(" *").removeprefix("   ") for line in example[1].splitlines()]
    declaration = "int32_t hello_invert(const furiosa_kernel_frame* frame);"
    source.write_text("\n".join([lines[0], declaration, *lines[1:]]) + "\n")
    shared = compile_c(source, tmp_path / "example.so", "-shared", "-fPIC")
    kernel = Kernel("TEST_INVERT", "x:u8 -> y:u8", WEIGH.reference)
    x, y = (KernelTensor(np.arange(n, n + 6, dtype=np.uint8).reshape(2, 3)) for n in (0, 6))
    call_kernel(kernel, NativeKernel(shared, "hello_invert"), KernelFrame((x,), y))
    np.testing.assert_array_equal(y.array, 255 - x.array)
    narrow = KernelTensor(y.array[:, :2])
    with pytest.raises(KernelError, match="x and y are of different dims"):
        call_kernel(kernel, NativeKernel(shared, "hello_invert"), KernelFrame((x,), narrow))


def test_values_of_a_call_and_back() -> None:
    values = CallValues([(0.5, 128), (1.0, -7)], [-3, 1e-300, 2**63 - 1])
    words = values.words()
    assert CallValues.from_words(words, [False, True, False]) == values
    command = Command("CALL", (0, None, 1), {"workspace": 64, "values": words}, "call")
    program = Program(
        tensors=[Tensor(DType.U8, Storage.CONSTANT, (4,), (1,), 64)],
        commands=[command],
        inputs=[],
        outputs=[],
        constants=bytes(64) + b"ABCD",
        arena_size=0,
    )
    read = Program.from_bytes(program.to_bytes(checksum))
    assert read.commands == [command]
    assert read.kernel(command) == "ABCD"
    with pytest.raises(ProgramError, match="FILL fill: expected a CALL"):
        read.kernel(Command("FILL", (1,), {"value": 0}, "fill"))


def test_a_call_has_any_number_of_operands() -> None:
    attributes: dict[str, int | float | tuple[int, ...]] = {"workspace": 0, "values": ()}
    for operands in ((0, 1), (0, None, 1), (0, *range(20))):
        assert Command("CALL", operands, attributes).operands == operands
    with pytest.raises(ProgramError, match="1 operands, expected kernel, any operands and the res"):
        Command("CALL", (0,), attributes)
    with pytest.raises(ProgramError, match="operand 'kernel' is missing"):
        Command("CALL", (None, 1), attributes)
    with pytest.raises(ProgramError, match="4 operands, expected x, table and the result"):
        Command("COPY", (0, 1, 2, 3), {})


def test_direct_calls_take_arrays_of_any_strides(library: Path) -> None:
    kernel = natively(WEIGH, library)
    rng = np.random.default_rng(0)
    x = KernelTensor(rng.integers(0, 256, (3, 4, 5)).astype(np.uint8).T, np.float32(0.05), 100)
    gamma = KernelTensor(rng.normal(0, 1, 6).astype(np.float32)[::-2])
    y = np.zeros((2, 4, 5, 6), np.uint8)[..., ::-1, ::2].swapaxes(1, 2)
    want, got = (KernelTensor(one, np.float32(0.1), 7) for one in y)
    for inputs in ((x, gamma), (x, None)):
        attributes = {"bias": 2, "epsilon": 0.125}
        kernel.reference(KernelFrame(inputs, want, attributes))
        call_kernel(kernel, kernel.native[0], KernelFrame(inputs, got, attributes))
        np.testing.assert_array_equal(got.array, want.array)


def test_direct_calls(library: Path) -> None:
    x = KernelTensor(np.arange(6, dtype=np.uint8).reshape(2, 3))
    y = KernelTensor(np.zeros(3, np.int32))
    sum_rows = natively(SUM_ROWS, library)
    call_kernel(sum_rows, sum_rows.native[0], KernelFrame((x,), y))
    assert y.array.tolist() == [3, 12, 15]
    with pytest.raises(KernelError, match="kernel 'TEST_SUM_ROWS': the workspace is too small"):
        call_kernel(sum_rows, sum_rows.native[0], KernelFrame((x,), y), np.zeros(7, np.uint8))
    fail = natively(FAIL, library)
    byte = KernelTensor(np.zeros(1, np.uint8))
    with pytest.raises(KernelError, match="kernel 'TEST_FAIL': it returned 3"):
        call_kernel(fail, fail.native[0], KernelFrame((byte,), byte, {"code": 3}))
