"""Whatever a pass does to a graph, the session is created and the Program runs."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest

from furiosa_ep.compiler.driver import CompiledPartition, partition_model
from furiosa_ep.device_emulator import Executable
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, QuantParams, Table
from furiosa_ep.graph.kinds import KINDS
from furiosa_ep.options import Options
from furiosa_ep.partitioner.descriptors import GraphPass, Stage
from furiosa_ep.partitioner.plugins import build_registry
from furiosa_ep.partitioner.registry import Scope
from furiosa_ep.program import DType
from tests.compiler.partitions import extract
from tests.compiler.plugin_passes import PassPlugin
from tests.random_graphs import random_model

MODELS = 40
ROUNDS = 12
"""How often each model is compiled, with other damage."""


@cache
def partitions(seed: int) -> tuple[bytes, ...]:
    """The partitions of a random model."""
    model, _ = random_model(seed)
    proto = onnx.shape_inference.infer_shapes(model)
    found = partition_model(proto.SerializeToString(), Options(claim="all")).partitions
    return tuple(extract(proto, nodes).SerializeToString() for nodes in found)


@pytest.mark.parametrize("first", range(0, MODELS, 10))
def test_random_damage_never_breaks_a_session(first: int) -> None:
    for seed in range(first, first + 10):
        for data in partitions(seed):
            plain = CompiledPartition(data).program()
            for round_ in range(ROUNDS):
                _compile(data, plain, seed * 1000 + round_)


def _compile(data: bytes, plain: bytes, seed: int) -> None:
    random = np.random.default_rng(seed)
    stage = list(Stage)[seed % 3]

    def damage(graph: DeviceGraph) -> None:
        for _ in range(int(random.integers(1, 4))):
            _DAMAGE[int(random.integers(len(_DAMAGE)))](graph, random)

    plugin = PassPlugin(GraphPass("damage", damage, stage))
    scope = Scope()
    built = CompiledPartition(data, build_registry({"acme": plugin}), scope).program()
    executable = Executable(built)
    executable.run([np.zeros(one.shape, one.dtype.numpy) for one in executable.inputs])
    assert [(one.dtype, one.shape) for one in executable.outputs] == [
        (one.dtype, one.shape) for one in Executable(plain).outputs
    ]
    if scope.without_passes:
        assert built == plain


Random = np.random.Generator
Damage = Callable[[DeviceGraph, Random], Any]


def _any(graph: DeviceGraph, r: Random) -> Operation:
    return graph.operations[int(r.integers(len(graph.operations)))]


def _value(graph: DeviceGraph, r: Random) -> DeviceValue:
    values = [*graph.inputs, *graph.outputs]
    values += [one for operation in graph.operations for one in operation.outputs]
    return values[int(r.integers(len(values)))]


def _pick(r: Random, *choices: Any) -> Any:
    return choices[int(r.integers(len(choices)))]


def _swap(graph: DeviceGraph, r: Random) -> None:
    i, j = r.integers(len(graph.operations), size=2)
    graph.operations[i], graph.operations[j] = graph.operations[j], graph.operations[i]


def _read_something_else(graph: DeviceGraph, r: Random) -> None:
    operation, other = _any(graph, r), _value(graph, r)
    alike = [one for one in graph.operations if one.output.shape == other.shape]
    for one in [operation, *alike]:
        for position, value in enumerate(one.inputs):
            if value is not None and value.shape == other.shape and r.random() < 0.5:
                one.inputs[position] = other


def _bypass(graph: DeviceGraph, r: Random) -> None:
    operation = _any(graph, r)
    for one in graph.operations:
        one.inputs = [operation.inputs[0] if x is operation.output else x for x in one.inputs]
    graph.remove([operation])


def _look_up(graph: DeviceGraph, r: Random) -> None:
    """A table of some size behind a value."""
    value = _value(graph, r)
    axis = _pick(r, None, None, 0, 1, -1, 9)
    rows = () if axis is None else (value.shape[axis],)
    codes = r.integers(0, 256, _pick(r, (*rows, 256), (*rows, 256), (7,)), np.uint8)
    made = DeviceValue("looked up", value.dtype, value.shape)
    lookup = Operation("Lookup", [value], [made], {"table": Table(lambda: codes, axis)}, "damage")
    _insert(graph, value, made, lookup)


def _turn(graph: DeviceGraph, r: Random) -> None:
    """A permutation of the axes of a value, and back."""
    value = _value(graph, r)
    perm = tuple(int(axis) for axis in r.permutation(len(value.shape)))
    back = tuple(perm.index(axis) for axis in range(len(perm)))
    turned = DeviceValue("turned", value.dtype, tuple(value.shape[axis] for axis in perm))
    made = DeviceValue("back", value.dtype, value.shape)
    _insert(
        graph,
        value,
        made,
        Operation("Transpose", [value], [turned], {"perm": perm}, "damage"),
        Operation("Transpose", [turned], [made], {"perm": back}, "damage"),
    )


def _insert(
    graph: DeviceGraph, value: DeviceValue, made: DeviceValue, *operations: Operation
) -> None:
    for one in graph.operations:
        one.inputs = [made if x is value else x for x in one.inputs]
    position = next((i for i, one in enumerate(graph.operations, 1) if value in one.outputs), 0)
    graph.operations[position:position] = operations
    graph.outputs = [made if x is value else x for x in graph.outputs]


def _attribute(graph: DeviceGraph, r: Random) -> None:
    operation = _any(graph, r)
    name = _pick(r, *(KINDS[operation.kind].attributes or ["more"]))
    old = operation.attributes.get(name)
    if isinstance(old, tuple) and all(isinstance(one, int) for one in old):
        new: Any = tuple(one + int(r.integers(-1, 2)) for one in old)
    elif isinstance(old, int):
        new = old + int(r.integers(-2, 3))
    elif isinstance(old, QuantParams):
        scale = _pick(r, 0.0, -1.0, np.nan, np.inf, 1e-38, 0.1, 1e30)
        new = QuantParams(np.float32(scale), int(r.integers(-200, 300)), bool(r.random() < 0.5))
    elif isinstance(old, np.ndarray):
        new = (old + r.integers(-1, 2, old.shape)).astype(old.dtype)
    else:
        new = _pick(r, None, 7, "x", (), object(), 1.5, np.float32("nan"), ((0, 0), (10, 3)))
    operation.attributes[name] = new


def _constant(graph: DeviceGraph, r: Random) -> None:
    operation = _any(graph, r)
    for position, value in enumerate(operation.inputs):
        if value is not None and value.constant is not None:
            array = _pick(r, value.constant * 0, value.constant[:1], value.constant.astype("f8"))
            dtype, shape = _pick(r, (value.dtype, array.shape), (DType.F32, value.shape))
            operation.inputs[position] = DeviceValue("c", dtype, shape, array)


def _write(graph: DeviceGraph, r: Random) -> None:
    for value in _any(graph, r).inputs:
        if value is not None and value.constant is not None:
            value.constant[...] = 0


def _fail(graph: DeviceGraph, r: Random) -> None:
    raise _pick(r, KeyError("x"), RecursionError(), SystemExit(1), MemoryError(), ValueError())


_DAMAGE: tuple[Damage, ...] = (
    _swap,
    _read_something_else,
    _read_something_else,
    _bypass,
    _look_up,
    _look_up,
    _turn,
    _attribute,
    _attribute,
    _attribute,
    _constant,
    _write,
    _fail,
    lambda g, r: setattr(_any(g, r), "kind", _pick(r, *KINDS, "Dance", 7)),
    lambda g, r: setattr(_value(g, r), "dtype", _pick(r, *DType, 2, None)),
    lambda g, r: setattr(_value(g, r), "shape", tuple(r.permutation(_value(g, r).shape))),
    lambda g, r: setattr(_value(g, r), "signed", bool(r.random() < 0.5)),
    lambda g, r: setattr(_any(g, r), "name", _pick(r, "", "\ud800", b"x", None)),
    lambda g, r: g.operations.append(_any(g, r)),
    lambda g, r: g.remove([_any(g, r)]),
    lambda g, r: _any(g, r).attributes.popitem(),
    lambda g, r: _any(g, r).inputs.pop(),
    lambda g, r: _any(g, r).inputs.append(_value(g, r)),
    lambda g, r: _any(g, r).outputs.append(_value(g, r)),
    lambda g, r: r.shuffle(g.outputs),
    lambda g, r: r.shuffle(g.inputs),
    lambda g, r: g.outputs.pop(),
    lambda g, r: g.outputs.append(_value(g, r)),
)
