"""Plugins that consist of passes, and a model for them to rewrite."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation
from furiosa_ep.partitioner.descriptors import GraphPass, PluginInfo
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.registry import Registry, Scope
from furiosa_ep.program import Program
from tests.compiler.test_driver import conv, conv_weights, model

Run = Callable[[DeviceGraph], Any]

MODEL = model(
    conv("x", "c")
    + """v1 = DequantizeLinear(c, s, z)
         v2 = Transpose <perm = [0, 2, 3, 1]> (v1)
         v3 = QuantizeLinear(v2, s, z)
         v4 = DequantizeLinear(v3, s, z)
         v5 = Transpose <perm = [0, 3, 1, 2]> (v4)
         v6 = QuantizeLinear(v5, s, z)
         v7 = Gather <axis = 1> (v6, there)
         v8 = Gather <axis = 1> (v7, back)
         v9 = DequantizeLinear(v8, s, z)
         v10 = Tanh(v9)
         y = QuantizeLinear(v10, t, z)
         p = MaxPool <kernel_shape = [2, 2]> (c)""",
    "uint8[1,4,6,5] x",
    "uint8[1,4,6,5] y, uint8[1,4,5,4] p",
    {
        **conv_weights(4, 4, 3, 3),
        "there": np.array([2, 0, 3, 1]),
        "back": np.array([1, 3, 0, 2]),
    },
)
"""A Conv, two inverse Transposes, two inverse Gathers, a table, and a MaxPool of the Conv."""


class PassPlugin:
    """A plugin with passes."""

    def __init__(self, *passes: GraphPass) -> None:
        self._passes = passes

    @hookimpl
    def furiosa_plugin(self) -> PluginInfo:
        return PluginInfo("any", "1.0")

    @hookimpl
    def furiosa_passes(self) -> Sequence[GraphPass]:
        return self._passes


def registry_with(**runs: Run) -> Registry:
    """The built-in plugin, and for each name a plugin with one pass of this name."""
    return build_registry({name: PassPlugin(GraphPass(name, run)) for name, run in runs.items()})


def program(registry: Registry, scope: Scope | None = None, data: bytes = MODEL) -> Program:
    """The Program of a model that is one partition."""
    return CompiledPartition(data, registry, scope or Scope()).build()


def cancel_inverses(graph: DeviceGraph) -> None:
    """Reads around pairs of inverse Transposes and Gathers."""
    producers = graph.producers()
    replaced: dict[DeviceValue, DeviceValue] = {}
    for second in graph.operations:
        second.inputs = [None if one is None else replaced.get(one, one) for one in second.inputs]
        source = second.inputs[0] if second.inputs else None
        first = None if source is None else producers.get(source)
        if first is not None and first.kind == second.kind and _are_inverse(first, second):
            (before,) = first.inputs
            assert before is not None
            replaced[second.output] = before
    graph.outputs = [replaced.get(one, one) for one in graph.outputs]


def _are_inverse(first: Operation, second: Operation) -> bool:
    name = {"Transpose": "perm", "Gather": "indices"}.get(first.kind)
    if name is None or first.attributes.get("axis") != second.attributes.get("axis"):
        return False
    both = np.array(first.attributes[name])[np.array(second.attributes[name])]
    return bool((both == np.arange(len(both))).all())
