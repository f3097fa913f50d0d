"""A small compiler that stands where furiosa_ep.compiler.driver is, to test the provider alone.

It takes the float operators Neg, Abs, Add and Mul on operands of one shape, all of them that ONNX
Runtime shows it in one partition, and can be told to fail.
"""

import sys
import threading
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import furiosa_ep.compiler
from furiosa_ep.device_emulator.library import checksum
from furiosa_ep.graph import Graph
from furiosa_ep.options import Options
from furiosa_ep.partitioner.registry import Scope
from furiosa_ep.program import Binding, Command, DType, Program, Storage, Tensor

_CODES = {"Add": 2, "Mul": 4, "Neg": 8, "Abs": 9}
_INPUT = 0
_NO_QUANTIZATION = {
    f"{name}_{kind}": 0 if kind == "zero_point" else 1.0
    for name in "abcdy"
    for kind in ("scale", "zero_point")
}


class Behaviour:
    """What the driver did, and what it shall fail at."""

    def __init__(self) -> None:
        self.models: list[onnx.ModelProto] = []
        """What ONNX Runtime showed, in the order of the calls of partition_model."""
        self.constants: list[dict[str, npt.NDArray[Any]]] = []
        """Copies of their initializers."""
        self.options: list[Options] = []
        self.programs: list[tuple[tuple[int, ...], ...]] = []
        """The input shapes of each Program that was made."""
        self.threads: list[int] = []
        self.alive = 0
        """How many compiled partitions the provider holds."""
        self.fail_at = ""
        """partition, compile or program: raises; bytes: gives a Program with one byte changed."""
        self.delay = 0.0
        """How long making a Program takes, in seconds."""
        self.rename = ""
        """A name that replaces that of the Program's first input."""


behaviour = Behaviour()


@dataclass(frozen=True)
class Report:
    partitions: tuple[tuple[int, ...], ...]
    total: int
    units: tuple[()] = ()

    def summary(self) -> str:
        claimed = sum(map(len, self.partitions))
        return f"fake: {claimed} of {self.total} nodes in {len(self.partitions)} partitions"


def partition_model(model: bytes, options: Options, scope: Scope) -> Report:
    _fail("partition")
    proto = onnx.load_model_from_string(model)
    behaviour.models.append(proto)
    graph = Graph.from_bytes(model)
    behaviour.constants.append(
        {one.name: np.array(graph.constant(one.name)) for one in proto.graph.initializer}
    )
    behaviour.options.append(options)
    nodes = graph.nodes
    claimed = tuple(
        node.index
        for node in nodes
        if node.op_type in _CODES and node.op_type not in options.disabled_ops
    )
    return Report((claimed,) if claimed else (), len(nodes))


class CompiledPartition:
    """The Programs of one fused graph, one command per node."""

    def __init__(self, model: bytes, scope: Scope) -> None:
        _fail("compile")
        self._graph = Graph.from_bytes(model)
        # The initializers are only there now.
        self._constants = {
            name: np.array(self._graph.constant(name), np.float32)
            for node in self._graph.nodes
            for name in node.inputs
            if self._graph.is_constant(name)
        }
        shapes = [self._graph.shape(name) for name in self._graph.inputs]
        self.static = all(
            shape is not None and all(isinstance(dim, int) for dim in shape) for shape in shapes
        )
        behaviour.alive += 1

    def __del__(self) -> None:
        behaviour.alive -= 1

    def program_head(
        self, input_shapes: Sequence[tuple[int, ...]], allocate: Callable[[int], memoryview]
    ) -> bytes:
        behaviour.programs.append(tuple(input_shapes))
        behaviour.threads.append(threading.get_ident())
        _fail("program")
        time.sleep(behaviour.delay)
        program = self._build(input_shapes)
        allocate(len(program.constants))[:] = program.constants
        data = bytearray(program.head(checksum))
        if behaviour.fail_at == "bytes":
            data[len(data) // 2] ^= 1
        return bytes(data)

    def _build(self, input_shapes: Sequence[tuple[int, ...]]) -> Program:
        graph = self._graph
        shape = input_shapes[0]
        strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
        size = -(-4 * int(np.prod(shape)) // 64) * 64
        tensors: list[Tensor] = []
        places: dict[str, int] = {}
        constants = bytearray()
        arena = 0

        def place(name: str, storage: Storage, offset: int = 0, index: int = 0) -> None:
            places[name] = len(tensors)
            tensors.append(Tensor(DType.F32, storage, shape, strides, offset, index))

        for index, name in enumerate(graph.inputs):
            place(name, Storage.INPUT, index=index)
        for name, array in self._constants.items():
            place(name, Storage.CONSTANT, len(constants))
            constants += np.broadcast_to(array, shape).tobytes().ljust(size, b"\0")
        commands = []
        for node in graph.nodes:
            (name,) = node.outputs
            if name in graph.outputs:
                place(name, Storage.OUTPUT, index=graph.outputs.index(name))
            else:
                place(name, Storage.ARENA, arena)
                arena += size
            operands = [places[one] for one in node.inputs]
            code = [_INPUT | k << 32 for k in range(len(operands))] + [_CODES[node.op_type]]
            commands.append(
                Command(
                    "EXPRESSION",
                    (*operands, *[None] * (5 - len(operands)), places[name]),
                    {**_NO_QUANTIZATION, "code": tuple(code)},
                    node.label,
                )
            )
        names = [behaviour.rename or graph.inputs[0], *graph.inputs[1:]]
        return Program(
            tensors=tensors,
            commands=commands,
            inputs=[
                Binding(name, DType.F32, tuple(one))
                for name, one in zip(names, input_shapes, strict=True)
            ],
            outputs=[Binding(name, DType.F32, shape) for name in graph.outputs],
            constants=constants,
            arena_size=arena,
        )


def _fail(stage: str) -> None:
    if behaviour.fail_at == stage:
        raise RuntimeError(f"planned failure in {stage}")


def install() -> Behaviour:
    """Puts this module where the driver is, with fresh behaviour."""
    global behaviour
    behaviour = Behaviour()
    module = types.ModuleType("furiosa_ep.compiler.driver")
    module.partition_model = partition_model  # type: ignore[attr-defined]
    module.CompiledPartition = CompiledPartition  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    furiosa_ep.compiler.driver = module
    return behaviour
