from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import IMAGE, check_function, operator
from tests.partitioner.operators.qdq import Qdq, declined, declines

FUNCTIONS = [
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Ceil",
    "Celu",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Neg",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
]
F = np.float32
PER_CHANNEL = np.linspace(-0.3, 0.5, 8, dtype=F)


@pytest.mark.parametrize("op_type", FUNCTIONS)
def test_functions(op_type: str) -> None:
    check_function(op_type, scale=0.02)


@pytest.mark.parametrize(
    ("op_type", "details"),
    [
        ("Gelu", {"opset": 20}),
        ("Mish", {"opset": 18}),
        ("Gelu", {"domain": "com.microsoft"}),
        ("QuickGelu", {"domain": "com.microsoft"}),
        ("FastGelu", {"domain": "com.microsoft"}),
        ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("Clip", {"constants": [F(-0.5), F(1.2)]}),
        ("Clip", {"constants": [None, F(0.5)]}),
        ("Clip", {"opset": 10, "min": -0.3, "max": 0.9}),
        ("Pow", {"constants": [F(2)]}),
        ("Pow", {"constants": [F(0.5)]}),
        ("PRelu", {"constants": [F(0.2)]}),
        ("PRelu", {"constants": [PER_CHANNEL.reshape(8, 1, 1)]}),
        ("PRelu", {"shape": (3, 8), "constants": [PER_CHANNEL]}),
        ("PRelu", {"shape": (3, 8, 4), "constants": [PER_CHANNEL.reshape(8, 1)]}),
    ],
)
def test_parameters(op_type: str, details: dict[str, Any]) -> None:
    check_function(op_type, **details)


@pytest.mark.parametrize("shape", [IMAGE, (3, 8), (2, 8, 7), (1, 8, 2, 3, 2)])
def test_batch_normalization(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    statistics = [random.uniform(0.3, 1.5, 8).astype(F) for _ in range(4)]
    check_function("BatchNormalization", shape, constants=statistics)


def test_results_are_quantized() -> None:
    assert declined(operator("Tanh", form="float")).code == DeclineCode.NOT_QUANTIZED


def test_parameters_are_constants_of_one_element() -> None:
    found = declined(operator("Pow", constants=[np.ones(6, F)]))
    assert found.code == DeclineCode.WEIGHTS_NOT_CONSTANT


def test_slopes_differ_along_the_channels_only() -> None:
    found = declined(operator("PRelu", constants=[np.ones(6, F)]))
    assert found.code == DeclineCode.SHAPE


def test_training_is_declined() -> None:
    statistics = [np.ones(8, F)] * 4
    q = operator("BatchNormalization", constants=statistics, training_mode=1)
    assert DeclineCode.ATTRIBUTE in [one.code for one in declines(q.model())]


def test_statistics_are_constants() -> None:
    q = Qdq()
    q.feeds["s"], q.shapes["s"] = np.ones(8, F), (8,)
    parameters = [q.constant(np.ones(8, F)) for _ in range(3)]
    q.y(q.node("BatchNormalization", [q.x(*IMAGE), "s", *parameters]))
    assert declined(q).code == DeclineCode.WEIGHTS_NOT_CONSTANT


def test_nine_axes_are_declined() -> None:
    assert declines(operator("Tanh", (1,) * 8).model()) == []
    assert declined(operator("Tanh", (1,) * 9)).code == DeclineCode.RANK
