"""Ranges of what functions read."""

import numpy as np
import onnx
import pytest

from furiosa_ep.quantization import Range
from furiosa_ep.quantization.accuracy.function_ranges import ranges_by_results
from furiosa_ep.quantization.scheme import Scheme
from furiosa_ep.quantization.units import find_scheme
from tests.quantization.optimizing import normal, parse, run, standard


def scheme_of(body: str, **constants: float) -> Scheme:
    text = f"(float[1,3,8,8] x) => (float[1,4,8,8] y) {{ a = Conv(x, w) {body} }}"
    arrays = {name: np.array(one, np.float32) for name, one in constants.items()}
    scheme = find_scheme(
        standard(parse(text, 17, w=normal(4, 3, 1, 1), v=normal(4, 4, 1, 1), **arrays))
    )
    assert not scheme.in_float
    return scheme


def found(scheme: Scheme, **ranges: Range) -> Range:
    """The range of a, where other values have the given ones, or wide ones."""
    known = {name: ranges.get(name, Range(-50.0, 50.0)) for name in scheme.calibrated}
    new = ranges_by_results(scheme, known)
    assert new.keys() == known.keys()
    return new["a"]


WIDE = Range(-60.0, 20.0)


@pytest.mark.parametrize(
    ("function", "result", "low", "high"),
    [
        ("f = HardSwish(a)", Range(-0.375, 20.0), -3.0, 20.0),
        ("s = Sigmoid(a)  f = Mul(a, s)", Range(-0.28, 20.0), -5.7, 20.0),
        ("s = Sigmoid(a)  f = Mul(a, s)", Range(-0.28, 12.0), -6.4, 12.0),
        ("f = LeakyRelu<alpha=0.1>(a)", Range(-1.0, 7.0), -10.0, 7.0),
        ("f = Sigmoid(a)", Range(0.0, 1.0), -6.93, 5.3),
        ("s = Add(a, three)  f = Mul(s, three)", Range(-171.0, 69.0), -60.0, 20.0),
        ("s = Mul(a, three)  f = Clip(s, zero, three)", Range(0.0, 3.0), 0.0, 1.0),
    ],
)
def test_what_functions_tell_apart(function: str, result: Range, low: float, high: float) -> None:
    scheme = scheme_of(f"{function}  y = Conv(f, v)", three=3.0, zero=0.0)
    ends = found(scheme, a=WIDE, f=result)
    assert ends.low == pytest.approx(low, rel=0.1, abs=0.03)
    assert ends.high == pytest.approx(high, rel=0.02)


def test_results_are_rounded_alike() -> None:
    scheme = scheme_of("f = HardSwish(a)  y = Conv(f, v)")
    result = Range(-0.375, 9.0)
    ends = found(scheme, a=WIDE, f=result)
    model = parse("(float[N] x) => (float[N] y) { y = HardSwish(x) }")
    x = np.linspace(-60, 20, 1001, dtype=np.float32)
    (exact,), (limited,) = (
        run(model, {"x": one}) for one in (x, np.clip(x, *ends).astype(np.float32))
    )
    change = np.clip(limited, *result) - np.clip(exact, *result)
    assert np.abs(change).max() <= (result.high - result.low) / 255 / 4


def test_calibration_that_cut_too_much_is_mended() -> None:
    scheme = scheme_of("f = HardSwish(a)  y = Conv(f, v)")
    assert found(scheme, a=Range(-60.0, 8.0), f=Range(-0.375, 12.0)).high == pytest.approx(12, 0.01)
    assert found(scheme, a=Range(-60.0, 8.0), f=Range(-0.375, 90.0)).high == 8.0


@pytest.mark.parametrize(
    "body",
    [
        "f = HardSwish(a)  g = Conv(a, v)  y = Add(f, g)",
        "f = Conv(a, v)  y = HardSwish(f)",
        "m = MaxPool<kernel_shape=[1,1]>(a)  f = HardSwish(m)  g = Conv(a, v)  y = Add(f, g)",
        "f = PRelu(a, slopes)  y = Conv(f, v)",
        "h = HardSwish(x)  i = Conv(h, w)  y = Add(a, i)",
    ],
)
def test_what_others_read_stays(body: str) -> None:
    slopes = np.array([[[-1.0]], [[0.5]], [[0.1]], [[2.0]]], np.float32)
    text = f"(float[1,3,8,8] x) => (float[1,4,8,8] y) {{ a = Conv(x, w) {body} }}"
    constants = {"w": normal(4, 3, 1, 1), "v": normal(4, 4, 1, 1), "slopes": slopes}
    scheme = find_scheme(standard(parse(text, 17, **constants)))
    assert "a" in scheme.calibrated
    assert found(scheme, a=WIDE) == WIDE


def test_all_readers_count() -> None:
    scheme = scheme_of(
        "f = HardSwish(a)  b = Sigmoid(a)  c = Conv(f, v)  d = Conv(b, v)  y = Add(c, d)"
    )
    ends = found(scheme, a=WIDE, f=Range(-0.375, 5.0))
    assert ends.low == pytest.approx(-6.93, 0.01)
    assert ends.high == pytest.approx(5.3, 0.01)


def test_outputs_keep_their_ranges() -> None:
    model = standard(
        parse(
            "(float[1,3,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] a) "
            "{ a = Conv(x, w)  f = HardSwish(a)  y = Conv(f, v) }",
            w=normal(4, 3, 1, 1),
            v=normal(4, 4, 1, 1),
        )
    )
    onnx.checker.check_model(model)
    assert found(find_scheme(model), a=WIDE) == WIDE
