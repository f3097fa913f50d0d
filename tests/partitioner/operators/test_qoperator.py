from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import IMAGE, TYPES
from tests.partitioner.operators.qdq import Qdq, check, declined

MICROSOFT = "com.microsoft"
Type = type[np.integer[Any]]


def weights(q: Qdq, shape: tuple[int, ...], axis: int | None, dtype: type = np.int8) -> list[str]:
    limits = np.iinfo(dtype)
    count = () if axis is None else (shape[axis],)
    return [
        q.constant(q.rng.integers(limits.min, limits.max + 1, shape).astype(dtype)),
        q.constant(q.rng.uniform(0.001, 0.01, count).astype(np.float32)),
        q.constant(np.zeros(count, dtype)),
    ]


def bias(q: Qdq, count: int) -> str:
    return q.constant(q.rng.integers(-5000, 5000, count).astype(np.int32))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        (IMAGE, (16, 8, 3, 3), {"pads": [1, 1, 1, 1]}),
        (IMAGE, (8, 1, 3, 3), {"group": 8}),
        ((2, 8, 9), (16, 8, 3), {}),
    ],
)
def test_conv(
    x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], dtype: Type
) -> None:
    for axis in (None, 0):
        q = Qdq(dtype=dtype)
        inputs = [q.raw(x), *q.params(0.05), *weights(q, w, axis), *q.params(0.4)]
        q.output(q.node("QLinearConv", [*inputs, bias(q, w[0])], **attributes))
        check(q)


@pytest.mark.parametrize("dtype", TYPES)
def test_matmul(dtype: Type) -> None:
    for axis in (None, 1):
        q = Qdq(dtype=dtype)
        inputs = [q.raw((3, 4, 16)), *q.params(0.05), *weights(q, (16, 8), axis), *q.params(0.2)]
        q.output(q.node("QLinearMatMul", inputs))
        check(q)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize(
    ("axis", "has_bias", "attributes"),
    [(None, True, {}), (0, True, {"transB": 1}), (1, False, {"alpha": 0.5})],
)
def test_gemm(
    axis: int | None, has_bias: bool, attributes: dict[str, Any], quantized: bool, dtype: Type
) -> None:
    q = Qdq(dtype=dtype)
    shape = (8, 16) if attributes.get("transB") else (16, 8)
    inputs = [q.raw((4, 16)), *q.params(0.05), *weights(q, shape, axis)]
    inputs.append(bias(q, 8) if has_bias else "")
    if quantized:
        inputs += q.params(0.2)
    q.output(q.node("QGemm", inputs, domain=MICROSOFT, **attributes), quantized=quantized)
    check(q)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("op_type", "shapes", "attributes"),
    [
        ("Add", [IMAGE, IMAGE], {}),
        ("Add", [IMAGE, (8, 1, 1)], {}),
        ("Add", [(8, 1, 1), IMAGE], {}),
        ("Mul", [IMAGE, IMAGE], {}),
        ("Mul", [(8, 1, 1), IMAGE], {}),
        ("Sigmoid", [IMAGE], {}),
        ("LeakyRelu", [IMAGE], {"alpha": 0.2}),
        ("GlobalAveragePool", [IMAGE], {}),
        ("GlobalAveragePool", [IMAGE], {"channels_last": 1}),
        ("AveragePool", [IMAGE], {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}),
        ("AveragePool", [IMAGE], {"kernel_shape": [2, 2], "channels_last": 1}),
    ],
)
def test_com_microsoft(
    op_type: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any], dtype: Type
) -> None:
    q = Qdq(dtype=dtype)
    inputs = [name for shape in shapes for name in (q.raw(shape), *q.params(0.05))]
    inputs += q.params(0.07)
    q.output(q.node(f"QLinear{op_type}", inputs, domain=MICROSOFT, **attributes))
    check(q)


@pytest.mark.parametrize("dtype", TYPES)
def test_concat(dtype: Type) -> None:
    q = Qdq(dtype=dtype)
    inputs = [*q.params(0.05)]
    for _ in range(3):
        inputs += [q.raw(IMAGE), *q.params()]
    q.output(q.node("QLinearConcat", inputs, domain=MICROSOFT, axis=1))
    check(q)


@pytest.mark.parametrize("opset", [11, 13])
def test_softmax(opset: int) -> None:
    q = Qdq()
    inputs = [q.raw(IMAGE), *q.params(0.05), *q.params(1 / 256)]
    q.output(q.node("QLinearSoftmax", inputs, domain=MICROSOFT, axis=1, opset=opset))
    check(q)


def test_no_factors_with_a_bias() -> None:
    q = Qdq()
    inputs = [q.raw((4, 16)), *q.params(0.05), *weights(q, (16, 8), None), bias(q, 8)]
    q.output(q.node("QGemm", [*inputs, *q.params(0.2)], domain=MICROSOFT, alpha=0.5))
    assert declined(q).code == DeclineCode.ATTRIBUTE


@pytest.mark.parametrize("op_type", ["MatMulInteger", "DynamicQuantizeLinear"])
def test_scales_are_static(op_type: str) -> None:
    q = Qdq()
    inputs = [q.raw((4, 16)), q.raw((16, 8))] if op_type == "MatMulInteger" else [q.raw((4, 16))]
    q.node(op_type, inputs)
    q.outputs.append(q.nodes[-1].output[0])
    found = declined(q)
    assert found.code == DeclineCode.NOT_QUANTIZED
    assert "known before the run" in found.reason
