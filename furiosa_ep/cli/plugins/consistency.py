"""Whether the descriptors of a plugin fit each other, and what else is there."""

from collections.abc import Iterator
from typing import NamedTuple

from furiosa_ep.kernels.kernel import Kernel
from furiosa_ep.partitioner.descriptors import GraphPass, Lowering
from furiosa_ep.partitioner.plugins import Plugin
from furiosa_ep.partitioner.registry import Registry, operator_name, opset_range
from furiosa_ep.partitioner.schema import FOREIGN_DOMAINS
from furiosa_ep.partitioner.support import CHAIN, OperatorSupport


class Finding(NamedTuple):
    """Something that its author should know."""

    what: str
    is_problem: bool = True


def findings(plugin: Plugin, registry: Registry) -> Iterator[Finding]:
    """What does not fit; `registry` has the plugin and those that are loaded with it."""
    operators: tuple[OperatorSupport, ...] = plugin.provided("furiosa_operators")
    lowerings: tuple[Lowering, ...] = plugin.provided("furiosa_lowerings")
    yield from _targets(plugin, registry)
    entries: list[OperatorSupport | Lowering] = [*operators, *lowerings]
    for entry in entries:
        yield from _opsets_and_kernels(entry, registry)
    for support in operators:
        yield from _support(support, registry)
    for lowering in lowerings:
        if (lowering.domain, lowering.op_type) not in registry.operators:
            yield Finding(f"lowering of {_name(lowering)}: no plugin takes the operator")
    called = {opcode for entry in entries for opcode in entry.kernels}
    for kernel in plugin.provided("furiosa_kernels"):
        yield from _kernel(kernel, called)
    yield from _passes(plugin, registry)
    yield from _schemas(plugin, operators)


def _targets(plugin: Plugin, registry: Registry) -> Iterator[Finding]:
    known = registry.named("furiosa_targets")
    for target in plugin.info.targets if plugin.info else ():
        if target not in known:
            yield Finding(f"target {target!r} is not known: expected one of {', '.join(known)}")


def _opsets_and_kernels(entry: OperatorSupport | Lowering, registry: Registry) -> Iterator[Finding]:
    if entry.until is not None and entry.until < entry.since:
        yield Finding(f"{_name(entry)}: no opset is in {opset_range(entry)}")
    for opcode in entry.kernels:
        if opcode not in registry.kernels:
            yield Finding(f"{_name(entry)} calls kernel {opcode}, which no plugin has")


def _support(support: OperatorSupport, registry: Registry) -> Iterator[Finding]:
    if support.lower is None and (support.domain, support.op_type) not in registry.lowerings:
        yield Finding(f"{_name(support)} has no lowering, neither its own nor a Lowering")
    for check in support.constraints:
        if not (check.__doc__ or "").strip():
            name = getattr(check, "__name__", repr(check))
            yield Finding(f"{_name(support)}: constraint {name} has no docstring, which users read")


def _kernel(kernel: Kernel, called: set[str]) -> Iterator[Finding]:
    if kernel.opcode not in called:
        yield Finding(f"kernel {kernel.opcode} is named in no operator's `kernels`", False)
    if not kernel.native:
        yield Finding(
            f"kernel {kernel.opcode} has no native function: it takes Python's GIL, and runs only "
            "in sessions with python_kernels=allow",
            False,
        )
    elif all(native.isa != "scalar" for native in kernel.native):
        isas = ", ".join(native.isa for native in kernel.native)
        yield Finding(
            f"kernel {kernel.opcode} has no native function for machines without {isas}", False
        )


def _passes(plugin: Plugin, registry: Registry) -> Iterator[Finding]:
    known = registry.named("furiosa_passes")
    one: GraphPass
    for one in plugin.provided("furiosa_passes"):
        for name in (*one.before, *one.after):
            other = known.get(name)
            if other is None:
                yield Finding(f"pass {one.name}: there is no pass {name!r} to run beside", False)
            elif other.stage != one.stage:
                yield Finding(
                    f"pass {one.name} of stage {one.stage}: pass {name!r} is of stage {other.stage}"
                )


def _schemas(plugin: Plugin, operators: tuple[OperatorSupport, ...]) -> Iterator[Finding]:
    """ONNX Runtime refuses models with operators that it does not know."""
    declared = {
        (schema.domain, schema.op_type): schema for schema in plugin.provided("furiosa_schemas")
    }
    taken = {(support.domain, support.op_type) for support in operators}
    for support in operators:
        key = (support.domain, support.op_type)
        own = support.domain and not support.domain.startswith(FOREIGN_DOMAINS) and key != CHAIN
        if own and support.pattern is None and key not in declared:
            yield Finding(
                f"{_name(support)} has no Schema: ONNX Runtime loads no model with it unless "
                "something else declares it",
                False,
            )
    for key, schema in declared.items():
        if key not in taken:
            yield Finding(f"schema {schema.name}: the plugin does not take the operator", False)
        if schema.compute is None:
            yield Finding(
                f"schema {schema.name} has no compute: what the NPU declines fails the session",
                False,
            )


def _name(entry: OperatorSupport | Lowering) -> str:
    return operator_name(entry.domain, entry.op_type)
