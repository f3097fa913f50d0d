"""Native functions held against their references."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from furiosa_ep.device_emulator.kernel_check import CaseError, check_native, expected_results
from furiosa_ep.kernels.cases import random_tensor
from furiosa_ep.kernels.kernel import Kernel, KernelCase, KernelFrame, KernelTensor, NativeKernel
from tests.device_emulator.native_kernels import (
    SUM_ROWS,
    WEIGH,
    compile_c,
    compiled_kernels,
    natively,
)


def invert(frame: KernelFrame) -> None:
    (x,) = frame.inputs
    assert x is not None
    frame.output.array[...] = 255 - x.array


def cases(size: int, random: np.random.Generator) -> Iterator[KernelCase]:
    for shape in ((size,), (3, size)):
        x = random_tensor(random, shape)
        yield KernelCase([x], x, {"any": int(random.integers(100))})


INVERT = Kernel("TEST_INVERT", "x:u8 -> y:u8", invert, "any", workspace=10, cases=cases)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Path(__file__).with_name("faulty_kernels.c")
    target = tmp_path_factory.mktemp("faulty") / "faulty_kernels.so"
    return compile_c(source, target, "-O1", "-shared", "-fPIC")


def faults(kernel: Kernel, native: NativeKernel, **options: Any) -> list[str]:
    return list(map(str, check_native(kernel, native, **options).faults))


@pytest.mark.parametrize("symbol", ["good", "in_tasks"])
def test_a_good_function_passes(symbol: str, library: Path) -> None:
    told: list[str] = []
    outcome = check_native(INVERT, NativeKernel(library, symbol), before=told.append)
    assert outcome.faults == ()
    assert outcome.cases == 2 * 20
    assert outcome.calls == 4 * outcome.cases
    assert len(told) == outcome.calls + 1
    assert told[0].startswith("x uint8[1] (")
    assert told[0].endswith("; buffers end at a page that faults")


@pytest.mark.parametrize(
    ("symbol", "what"),
    [
        (
            "rounds_wrongly",
            r"\] is 101, the reference gives 100 \(\d+ of \d+ elements\): x uint8\[",
        ),
        (
            "leaves_the_tail",
            r"does not write y\[.*\d\] \(\d+ of \d+ elements are wrong\): x uint8\[",
        ),
        ("writes_its_input", "writes to operand x: x uint8"),
        ("writes_its_attribute", "writes to the attributes: "),
        ("reads_its_workspace", r"y\[0\] is \d+, the reference gives \d+ \(1 of 1 elements\)"),
        ("writes_behind_workspace", "writes beside the workspace: "),
        ("keeps_state", "gives another result when 4 threads call it at once: x uint8"),
        ("fails", "fails: not of 64 elements: x uint8"),
        ("fails_silently", "fails: it returned 7: x uint8"),
    ],
)
def test_a_fault_is_found(symbol: str, what: str, library: Path) -> None:
    found = faults(INVERT, NativeKernel(library, symbol))
    assert found
    assert any(re.search(what, one) for one in found), found


def test_a_missing_symbol_is_a_fault(library: Path) -> None:
    (found,) = faults(INVERT, NativeKernel(library, "none"))
    assert found == f"library {library} has no symbol 'none'"


def test_a_write_between_strided_elements_is_found(library: Path) -> None:
    kernel = dataclasses.replace(
        INVERT, strided=True, cases=lambda size, random: [next(cases(size, random))]
    )
    found = faults(kernel, NativeKernel(library, "writes_between"))
    assert "writes between the elements of the result: " in found[0]
    assert found[0].endswith("; buffers end at a page that faults, tensors are strided")


def test_strides_workspaces_tasks_and_absent_operands(tmp_path: Path) -> None:
    def weigh_cases(size: int, random: np.random.Generator) -> Iterator[KernelCase]:
        for gamma in (random_tensor(random, (size,), "f32"), None):
            tensors = [random_tensor(random, (2, size)), gamma]
            yield KernelCase(tensors, random_tensor(random, (2, size)), {"bias": 1, "epsilon": 0.5})

    def sum_cases(size: int, random: np.random.Generator) -> Iterator[KernelCase]:
        result = KernelTensor(np.empty(size + 1, np.int32))
        yield KernelCase([random_tensor(random, (size, 5))], result)

    native = compiled_kernels(tmp_path)
    for kernel, its_cases in ((WEIGH, weigh_cases), (SUM_ROWS, sum_cases)):
        found = natively(dataclasses.replace(kernel, cases=its_cases), native)
        outcome = check_native(found, found.native[0])
        assert outcome.faults == ()
        assert outcome.calls == outcome.cases * (8 if kernel.strided else 4)


def test_cases_depend_on_the_seed_alone() -> None:
    def inputs(seed: int) -> list[bytes]:
        found = expected_results(INVERT, (5, 9), seed)
        return [one.case.inputs[0].array.tobytes() for one in found if one.case.inputs[0]]

    assert inputs(0) == inputs(0)
    assert inputs(0) != inputs(1)


def _wrong(**changes: Any) -> Kernel:
    return dataclasses.replace(INVERT, **changes)


def _forgets(frame: KernelFrame) -> None:
    frame.output.array[1:] = 0


def _writes_input(frame: KernelFrame) -> None:
    assert frame.inputs[0] is not None
    frame.inputs[0].array[0] = 1


@pytest.mark.parametrize(
    ("kernel", "what"),
    [
        (_wrong(cases=None), "has no cases .* give Kernel.cases"),
        (_wrong(cases=lambda size, random: ()), "has no cases .* give Kernel.cases"),
        (_wrong(cases=lambda size, random: 1 / 0), "cases.1. raises ZeroDivisionError"),
        (_wrong(cases=lambda size, random: [1]), "expected KernelCase, found int"),
        (_wrong(operands="x:f32 -> y:u8"), "cases.1.: kernel TEST_INVERT: x is u8, expected f32"),
        (_wrong(attributes="other"), r"attributes \['any'\], expected \['other'\]"),
        (_wrong(reference=lambda frame: 1 / 0), "reference raises ZeroDivisionError.*: x uint8"),
        (_wrong(reference=_forgets), "reference leaves out elements .*: x uint8"),
        (_wrong(reference=_writes_input), "reference raises ValueError: .* read-only"),
    ],
)
def test_a_kernel_without_usable_cases_is_told(kernel: Kernel, what: str) -> None:
    with pytest.raises(CaseError, match=what):
        list(expected_results(kernel))
