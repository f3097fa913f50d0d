"""The compiler's entry: a partition of a model in, Programs out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from furiosa_ep.compiler.codegen import Allocate, generate
from furiosa_ep.compiler.errors import CompileError, MemoryLimit
from furiosa_ep.compiler.limits import schedule
from furiosa_ep.compiler.lowering import lower, lower_alone, steps
from furiosa_ep.compiler.passes import optimize
from furiosa_ep.device_emulator import Executable, checksum
from furiosa_ep.graph import Graph
from furiosa_ep.partitioner import partition
from furiosa_ep.partitioner.descriptors import GraphPass, Lowering
from furiosa_ep.partitioner.environment import BUILT_IN
from furiosa_ep.partitioner.plugins import registry
from furiosa_ep.partitioner.registry import PluginError, Registry, Scope
from furiosa_ep.partitioner.report import Report
from furiosa_ep.partitioner.support import Decline, DeclineCode, NodeUnit
from furiosa_ep.program import Program

Shapes = Mapping[str, tuple[int, ...]]


def partition_model(model: bytes, options: partition.Options, scope: Scope | None = None) -> Report:
    """Decide which nodes of a serialized ModelProto the NPU takes.

    As the partitioner does, but units of plugins are compiled on trial, each alone: a plugin that
    cannot lower what it claims is left out of the session, and everything is decided without it.
    What does not fit into the memories of the target when it is compiled is declined.
    """
    return partition.partition_model(model, options, scope, _Trial())


class _Trial:
    """Compiles what may be claimed, before it is; open shapes wait until they are known."""

    def unit(
        self, unit: NodeUnit, graph: Graph, lowering: Lowering, plugins: Registry, scope: Scope
    ) -> Decline | int:
        device = lower_alone(unit, graph, lowering, plugins.kernels)
        if device is None:
            return 0
        inputs = [value.name for value in device.inputs]
        outputs = [value.name for value in device.outputs]
        try:
            program = _scheduled(generate(device, inputs, outputs), plugins, scope)
        except MemoryLimit as error:
            return _declined(error)
        Executable(program.to_bytes(checksum))
        return program.schedule.dram_bytes

    def partition(
        self, nodes: Collection[int], graph: Graph, plugins: Registry, scope: Scope
    ) -> Decline | int:
        compiled = CompiledPartition(graph.part(nodes), plugins, scope)
        if not compiled.static:
            return 0
        try:
            return compiled.size()
        except MemoryLimit as error:
            return error.dram_bytes or _declined(error)


def _declined(error: MemoryLimit) -> Decline:
    return Decline(DeclineCode.MEMORY_LIMIT, error.reason, error.mend)


class CompiledPartition:
    """A partition that is ready to be made into a Program for any input shapes that fit it.

    Instances may be used by several threads at once.
    """

    def __init__(
        self, model: bytes | Graph, operators: Registry | None = None, scope: Scope | None = None
    ) -> None:
        """Read a serialized ModelProto, or its graph, all of whose nodes the NPU has claimed.

        Initializers may lie in this process's memory (location "@mem"). Where `static` is False
        they are copied, so that the memory may go when this returns.

        Args:
            model: the partition's nodes, with its inputs and outputs.
            operators: what lowers the operators; all plugins by default.
            scope: what the session makes of the plugins.

        Raises:
            CompileError: where a node is not supported after all; says why.
        """
        self._graph = model if isinstance(model, Graph) else Graph.from_bytes(model)
        shapes = [self._graph.shape(name) for name in self._graph.inputs]
        self.static = all(
            shape is not None and all(isinstance(dim, int) for dim in shape) for shape in shapes
        )
        """Whether the model fixes the shapes of all inputs: one Program is all there is."""
        if not self.static:
            # Before the units are formed, which hold views of constants.
            self._graph.keep_constants()
        self._registry = operators or registry()
        self._scope = scope or Scope()
        self._steps = steps(self._graph, self._registry, self._scope)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs, in the order of a Program's."""
        return self._graph.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, in the order of a Program's."""
        return self._graph.outputs

    def program(self, input_shapes: Sequence[Sequence[int]] | None = None) -> bytes:
        """The bytes of the Program for inputs of these shapes, in the model's order.

        Without shapes, for those that the model declares.

        Raises:
            CompileError: where the model does not work for these shapes; says which node and why.
        """
        return self.build(input_shapes).to_bytes(checksum)

    def program_head(
        self, input_shapes: Sequence[Sequence[int]] | None, allocate: Allocate
    ) -> bytes:
        """As `program`, but what comes before the constants; they are in memory from `allocate`."""
        return self.build(input_shapes, allocate).head(checksum)

    def build(
        self, input_shapes: Sequence[Sequence[int]] | None = None, allocate: Allocate = bytearray
    ) -> Program:
        """As `program`, before it is written as bytes; its constants are in memory from `allocate`.

        Args:
            input_shapes: those of the inputs.
            allocate: gives so many bytes of memory, all zero.
        """
        graph = self._graph
        if input_shapes is None:
            input_shapes = [self._declared(name) for name in graph.inputs]
        if len(input_shapes) != len(graph.inputs):
            raise CompileError(
                f"{len(input_shapes)} input shapes: expected one for each of "
                f"{', '.join(map(repr, graph.inputs))}"
            )
        shapes = {
            name: tuple(int(dim) for dim in shape)
            for name, shape in zip(graph.inputs, input_shapes, strict=True)
        }
        program = self._compile(shapes, allocate)
        self._registry.notify(
            "furiosa_compiled", program=lambda: Program.from_bytes(program.to_bytes(checksum))
        )
        return program

    def size(self) -> int:
        """The DRAM that the Program takes for the shapes that the model declares.

        Raises:
            CompileError: as `build`.
        """
        shapes = {name: tuple(self._declared(name)) for name in self._graph.inputs}
        return self._compile(shapes, bytearray).schedule.dram_bytes

    def _compile(self, shapes: Shapes, allocate: Allocate) -> Program:
        """As `build`; without the passes of plugins that make the rest of the compiler fail."""
        passes = self._registry.passes_for(self._scope)
        plugins = dict.fromkeys(one.owner for one in passes if one.owner != BUILT_IN)
        try:
            return self._generate(shapes, passes, allocate)
        except PluginError:
            raise
        except Exception:
            if not plugins:
                raise
        good = {BUILT_IN}
        self._generate(shapes, _of(good, passes))  # Where this fails, no plugin is to blame.
        for plugin in plugins:
            try:
                self._generate(shapes, _of({*good, plugin}, passes))
            except PluginError:
                raise
            except Exception as error:
                reason = f"behind its passes, {type(error).__name__}: {error}"
                self._scope.leave_out_passes(plugin, reason)
            else:
                good.add(plugin)
        return self._generate(shapes, _of(good, passes), allocate)

    def _generate(
        self, shapes: Shapes, passes: Sequence[GraphPass], allocate: Allocate = bytearray
    ) -> Program:
        graph = self._graph
        lowered = lower(graph, self._steps, shapes, self._registry.kernels)
        device = optimize(lowered, passes, self._scope)
        program = generate(device, graph.inputs, graph.outputs, allocate)
        if device is not lowered:
            # What passes of plugins have made may be beyond what the verification knows.
            Executable(program.to_bytes(checksum))
        return _scheduled(program, self._registry, self._scope)

    def _declared(self, name: str) -> list[int]:
        shape = self._graph.shape(name) or ()
        known = [dim for dim in shape if isinstance(dim, int)]
        if not self.static:
            raise CompileError(
                f"input {name!r} has shape {list(shape)}: pass the shapes of all inputs, because "
                "the model leaves some open"
            )
        return known


def _scheduled(program: Program, plugins: Registry, scope: Scope) -> Program:
    target = plugins.target(scope)
    if target is None:  # without the built-in plugin there is none
        return program
    return replace(program, schedule=schedule(program, target))


def _of(owners: set[str], passes: Sequence[GraphPass]) -> Sequence[GraphPass]:
    return [one for one in passes if one.owner in owners]
