"""Holds native functions of kernels against their references, where every wrong access faults.

What a function does wrong may end the process: call it in one that may end.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from furiosa_ep.device_emulator.guarded_call import CONCURRENCY, GuardedCall, Placement
from furiosa_ep.device_emulator.kernel_threads import Expected, different, wrong_on_threads
from furiosa_ep.device_emulator.kernels import KernelError, native_function
from furiosa_ep.kernels.kernel import Array, Kernel, KernelCase, KernelFrame, NativeKernel
from furiosa_ep.program import DType

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)
"""What `Kernel.cases` is asked for: sizes at and around the edges of vectors and tiles."""
_PATTERNS = (0x5A, 0xA5)
"""What the result and the workspace hold before a call: each bit once 0 and once 1."""
_MOST_FAULTS = 3
_DTYPES = {one.numpy: one for one in DType}


class Fault(NamedTuple):
    """Something that a kernel does wrong."""

    case: str
    """The call in which it was seen; "" where it is no single one."""
    what: str

    def __str__(self) -> str:
        return f"{self.what}: {self.case}" if self.case else self.what


class CaseError(Exception):
    """A kernel's cases cannot be used, or its reference does not compute one."""


class Outcome(NamedTuple):
    """What a check of a native function has found."""

    faults: tuple[Fault, ...]
    cases: int
    calls: int


def expected_results(
    kernel: Kernel, sizes: Sequence[int] = SIZES, seed: int = 0
) -> Iterator[Expected]:
    """The kernel's cases of all sizes with the reference's results.

    Raises:
        CaseError: where it has none, where one does not fit its declaration, or where the reference
            fails, fills only a part of the result, or gives another one when it is called again.
    """
    count = 0
    for size in sizes:
        for case in _cases(kernel, size, seed):
            count += 1
            yield Expected(case, _reference_result(kernel, case))
    if not count:
        raise CaseError("has no cases to hold native functions against: give Kernel.cases")


def check_native(
    kernel: Kernel,
    native: NativeKernel,
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
    before: Callable[[str], None] = lambda call: None,
) -> Outcome:
    """Call a native function on all cases, each with several placements; then on several threads.

    Stops when several calls have gone wrong.

    Args:
        kernel: what the function computes.
        native: the function; this machine has its instruction set.
        sizes: of the cases.
        seed: of the cases.
        before: is told of each call before it is made: it may be the last one of the process.

    Raises:
        CaseError: as `expected_results`.
    """
    backwards = (False, True) if kernel.strided else (False,)
    placements = tuple(itertools.product((False, True), backwards))
    try:
        function = native_function(native)
    except KernelError as error:
        return Outcome((Fault("", str(error)),), 0, 0)
    faults: list[Fault] = []
    done: list[Expected] = []
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        for expected in expected_results(kernel, sizes, seed):
            done.append(expected)
            text = describe(kernel, expected.case)
            for front, strided in placements:
                where = f"{text}; {Placement(front, strided)}"
                # Tasks run one after the other, or at the same time.
                pool = threads if front else None
                calls = [
                    GuardedCall(kernel, expected.case, Placement(front, strided, pattern), pool)
                    for pattern in _PATTERNS
                ]
                for call in calls:
                    before(where)
                    call.run(function)
                wrong = [what for call in calls for what in call.faults()]
                wrong += _differences(kernel, [call.output for call in calls], expected.result)
                faults += [Fault(where, what) for what in dict.fromkeys(wrong)]
            if len(faults) >= _MOST_FAULTS:
                break
    if not faults:
        before(f"calls by {CONCURRENCY} threads at once")
        what = f"gives another result when {CONCURRENCY} threads call it at once"
        wrong_calls = wrong_on_threads(kernel, native, done)
        faults = [Fault(describe(kernel, one.case), what) for one in wrong_calls]
    return Outcome(tuple(faults), len(done), len(done) * len(placements) * len(_PATTERNS))


def describe(kernel: Kernel, case: KernelCase) -> str:
    """A call for people: `x uint8[3, 65] (0.02, 128), y uint8[3, 65] (0.01, 0), peak 1.0`."""
    parts = []
    for one, tensor in zip(kernel.schema, (*case.inputs, case.output), strict=False):
        if tensor is None:
            parts.append(f"{one.name} absent")
            continue
        quantized = "" if one.dtypes != ("u8",) else f" ({tensor.scale:.4g}, {tensor.zero_point})"
        parts.append(f"{one.name} {tensor.array.dtype}{list(tensor.array.shape)}{quantized}")
    parts += [f"{name} {value}" for name, value in case.attributes.items()]
    return ", ".join(parts)


def _cases(kernel: Kernel, size: int, seed: int) -> Iterator[KernelCase]:
    if kernel.cases is None:
        return
    try:
        cases = list(kernel.cases(size, np.random.default_rng([seed, size])))
    except Exception as error:
        raise CaseError(f"cases({size}) raises {type(error).__name__}: {error}") from error
    for case in cases:
        if not isinstance(case, KernelCase):
            raise CaseError(f"cases({size}): expected KernelCase, found {type(case).__name__}")
        tensors = (*case.inputs, case.output)
        try:
            dtypes = [
                None if one is None else _DTYPES[one.array.dtype].name.lower() for one in tensors
            ]
            kernel.check_call(dtypes, case.attributes)
        except (KeyError, ValueError) as error:
            raise CaseError(f"cases({size}): {error}") from error
        if not case.output.array.size:
            raise CaseError(f"cases({size}): {describe(kernel, case)}: the result is empty")
        yield case


def _reference_result(kernel: Kernel, case: KernelCase) -> Array:
    results = []
    for pattern in _PATTERNS:
        y = case.output.array
        output = np.full(y.nbytes, pattern, np.uint8).view(y.dtype).reshape(y.shape)
        inputs = tuple(
            None if one is None else one._replace(array=_read_only(one.array))
            for one in case.inputs
        )
        frame = KernelFrame(inputs, case.output._replace(array=output), case.attributes)
        try:
            kernel.reference(frame)
        except Exception as error:
            raise CaseError(
                f"the reference raises {type(error).__name__}: {error}: {describe(kernel, case)}"
            ) from error
        results.append(output)
    if results[0].tobytes() != results[1].tobytes():
        raise CaseError(
            "the reference leaves out elements of the result, or gives another one each time: "
            + describe(kernel, case)
        )
    return results[0]


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _differences(kernel: Kernel, results: Sequence[Array], expected: Array) -> Iterator[str]:
    """What is wrong with the results of calls that began with the patterns."""
    wrong = [different(result, expected) for result in results]
    if not any(one.any() for one in wrong):
        return
    which = next(position for position, one in enumerate(wrong) if one.any())
    index = tuple(map(int, np.argwhere(wrong[which])[0]))
    place = f"{kernel.schema[-1].name}{list(index)}"
    amount = f"{wrong[which].sum()} of {expected.size} elements"
    untouched = (
        result[index].tobytes() == bytes([pattern]) * expected.itemsize
        for result, pattern in zip(results, _PATTERNS, strict=True)
    )
    if all(untouched):
        yield f"does not write {place} ({amount} are wrong)"
    else:
        found, right = results[which][index], expected[index]
        yield f"{place} is {found}, the reference gives {right} ({amount})"
