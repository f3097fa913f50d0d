"""COPY, FILL, RESIZE_NEAREST and GATHER: native kernels equal the reference."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.device_emulator.cases import Case, check, layouts
from tests.kernels.test_elementwise import bytes_, dims, random_bytes, seeds, tables


@given(st.data())
def test_copy(data: st.DataObject) -> None:
    shape = data.draw(dims)
    case = Case("COPY", {})
    case.input(random_bytes(data.draw(seeds), shape), data.draw(layouts(shape, broadcast=True)))
    case.constant(data.draw(tables(shape)))
    check(case.program(shape, data.draw(layouts(shape))), case.inputs)


@given(st.data())
def test_fill(data: st.DataObject) -> None:
    shape = data.draw(dims)
    case = Case("FILL", {"value": data.draw(bytes_)})
    check(case.program(shape, data.draw(layouts(shape))), case.inputs)


@given(st.data())
def test_resize_nearest(data: st.DataObject) -> None:
    batch, channels = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 70))
    source = (batch, data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6)), channels)
    target = (batch, data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9)), channels)
    rng = np.random.default_rng(data.draw(seeds))
    case = Case("RESIZE_NEAREST", {})
    case.input(random_bytes(data.draw(seeds), source), data.draw(layouts(source)))
    for axis in (1, 2):
        indices = rng.integers(0, source[axis], target[axis]).astype(np.int32)
        case.constant(np.sort(indices) if data.draw(st.booleans()) else indices)
    case.constant(data.draw(tables(target)))
    check(case.program(target, data.draw(layouts(target))), case.inputs)


@given(st.data())
def test_gather(data: st.DataObject) -> None:
    outer, inner = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 70))
    source = (outer, data.draw(st.integers(1, 9)), inner)
    target = (outer, data.draw(st.integers(0, 30)), inner)
    rng = np.random.default_rng(data.draw(seeds))
    case = Case("GATHER", {})
    case.input(random_bytes(data.draw(seeds), source), data.draw(layouts(source)))
    case.constant(rng.integers(0, source[1], target[1]).astype(np.int32))
    case.constant(data.draw(tables(target)))
    check(case.program(target, data.draw(layouts(target))), case.inputs)
