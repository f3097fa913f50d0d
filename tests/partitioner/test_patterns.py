"""What a pattern may be."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from furiosa_ep.partitioner.descriptors import PluginInfo
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.patterns import Pattern, PatternNode
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.support import OperatorSupport

from .graphs import lower_nothing

ADD = PatternNode("Add", ["x", "y"], ["a"])
RELU = PatternNode("Relu", ["a"], ["r"])


def pattern(*nodes: PatternNode, inputs: Any = ("x", "y"), output: str = "r") -> Pattern:
    return Pattern(nodes, inputs, output)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: PatternNode("", ["x"], ["y"]), "expected an operator"),
        (lambda: PatternNode("Constant", [], ["y"]), "a constant is an input of the pattern"),
        (lambda: PatternNode("Add", "xy", ["a"]), "inputs: expected several names, found 'xy'"),
        (lambda: PatternNode("Add", ["x", 1], ["a"]), "inputs: expected several names"),  # type: ignore[list-item]
        (lambda: PatternNode("Relu", ["x"], "y"), "outputs: expected several names"),
        (lambda: PatternNode("Relu", ["x"], [""]), "expected a name for an output"),
        (lambda: PatternNode("Elu", ["x"], ["y"], optional=["alpha"]), "none of its attributes"),
        (
            lambda: PatternNode("Pad", ["x"], ["y"], attributes={"value": np.zeros(3)}),
            "'value': expected a number, a string or a sequence of them, found ndarray",
        ),
        (lambda: pattern(), "expected nodes"),
        (lambda: pattern(ADD, RELU, inputs="xy"), "inputs: expected several names"),
        (lambda: pattern(ADD, RELU, inputs=("x", "y", "x")), "'x' is no name, or is named twice"),
        (lambda: pattern(ADD, RELU, inputs=("x", "")), "'' is no name, or is named twice"),
        (lambda: pattern(ADD, RELU, inputs=("x",)), "reads 'y', which is neither an input nor"),
        (lambda: pattern(RELU, ADD), "Relu reads 'a', which is neither an input nor computed by"),
        (lambda: pattern(ADD, RELU, inputs=("x", "y", "a")), "Add computes 'a', which is an input"),
        (lambda: pattern(ADD, ADD, RELU), "Add computes 'a', which is an input or computed by an"),
        (lambda: pattern(ADD, RELU, output="z"), "no node computes the output 'z'"),
        (lambda: pattern(ADD, RELU, output="x"), "no node computes the output 'x'"),
        (lambda: pattern(ADD, RELU, output="a"), "the output 'a' is read by a node of the pattern"),
        (lambda: pattern(ADD, RELU, inputs=("x", "y", "z")), "no node reads the input 'z'"),
        (
            lambda: pattern(ADD, PatternNode("Neg", ["x"], ["n"]), RELU),
            "Neg is not connected with the output: no node reads 'n'",
        ),
        (
            lambda: pattern(ADD, RELU, PatternNode("Clip", ["x", ""], ["", "c"])),
            "Clip is not connected with the output: no node reads 'c'",
        ),
    ],
)
def test_what_cannot_match_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_a_plugin_with_such_a_pattern_is_left_out_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Plugin:
        @hookimpl
        def furiosa_plugin(self) -> PluginInfo:
            return PluginInfo("any", "1.0")

        @hookimpl
        def furiosa_operators(self) -> Iterable[OperatorSupport]:
            return [OperatorSupport("F", lower_nothing, pattern=pattern(RELU))]

    with caplog.at_level(logging.WARNING):
        build_registry({"broken": Plugin()})
    (record,) = caplog.records
    assert "plugin 'broken' is left out: ValueError: pattern: Relu reads 'a'" in record.message


def test_names_do_not_matter_to_equality() -> None:
    other = pattern(
        PatternNode("Add", ["p", "q"], ["s"]),
        PatternNode("Relu", ["s"], ["t"], "ai.onnx"),
        inputs=["p", "q"],
        output="t",
    )
    assert other == pattern(ADD, RELU)
    assert hash(other) == hash(pattern(ADD, RELU))


@pytest.mark.parametrize(
    "other",
    [
        pattern(ADD, RELU, inputs=("y", "x")),
        pattern(PatternNode("Add", ["x", "x"], ["a"]), RELU, inputs=("x",)),
        pattern(ADD, PatternNode("Relu", ["a"], ["r"], "com.microsoft")),
        pattern(ADD, PatternNode("Relu", ["a"], ["r"], attributes={"alpha": 1})),
        pattern(ADD, output="a"),
    ],
)
def test_all_else_does(other: Pattern) -> None:
    assert other != pattern(ADD, RELU)


def test_so_do_optional_attributes_and_which_output_it_is() -> None:
    def elu(*optional: str) -> Pattern:
        node = PatternNode("Elu", ["x"], ["y"], attributes={"alpha": 1}, optional=optional)
        return Pattern((node,), ("x",), "y")

    assert elu() != elu("alpha")
    split = PatternNode("Split", ["x"], ["a", "b"])
    assert Pattern((split,), ("x",), "a") != Pattern((split,), ("x",), "b")
