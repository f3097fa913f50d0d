"""MAX_POOL and GLOBAL_AVERAGE_POOL: native kernels equal the reference."""

from hypothesis import given
from hypothesis import strategies as st

from tests.device_emulator.cases import Case, check, layouts
from tests.kernels.test_elementwise import bytes_, random_bytes, scales, seeds, tables


@given(st.data())
def test_max_pool(data: st.DataObject) -> None:
    small = st.integers(1, 4)
    source = (
        data.draw(st.integers(0, 2)),
        data.draw(st.integers(1, 12)),
        data.draw(st.integers(1, 12)),
        data.draw(st.sampled_from([0, 1, 3, 16, 33, 64, 100])),
    )
    target = (source[0], data.draw(st.integers(0, 8)), data.draw(st.integers(0, 8)), source[3])
    attributes = {
        "kernel_h": data.draw(st.integers(1, 10)),
        "kernel_w": data.draw(st.integers(1, 10)),
        "stride_h": data.draw(small),
        "stride_w": data.draw(small),
        "dilation_h": data.draw(small),
        "dilation_w": data.draw(small),
        "pad_top": data.draw(st.integers(0, 12)),
        "pad_left": data.draw(st.integers(0, 12)),
    }
    case = Case("MAX_POOL", attributes)
    case.input(random_bytes(data.draw(seeds), source), data.draw(layouts(source)))
    case.constant(data.draw(tables(target)))
    check(case.program(target, data.draw(layouts(target))), case.inputs)


@given(st.data())
def test_global_average_pool(data: st.DataObject) -> None:
    source = (
        data.draw(st.integers(0, 3)),
        data.draw(st.integers(1, 12)),
        data.draw(st.integers(1, 12)),
        data.draw(st.sampled_from([0, 1, 3, 16, 33, 64, 300])),
    )
    attributes = {
        "x_zero_point": data.draw(bytes_),
        "y_zero_point": data.draw(bytes_),
        "multiplier": data.draw(scales),
    }
    target = (source[0], 1, 1, source[3])
    case = Case("GLOBAL_AVERAGE_POOL", attributes)
    case.input(random_bytes(data.draw(seeds), source), data.draw(layouts(source)))
    case.constant(data.draw(tables(target)))
    check(case.program(target, data.draw(layouts(target))), case.inputs)
