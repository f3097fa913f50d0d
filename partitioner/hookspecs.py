"""The hooks through which plugins, the built-in one among them, teach the NPU.

A hook that gives descriptors is called once, when the plugins are loaded.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import pluggy

from furiosa_ep.device_emulator.target import Target
from furiosa_ep.kernels.kernel import Kernel
from furiosa_ep.partitioner.descriptors import (
    Calibrator,
    CliCommand,
    CostModel,
    GraphPass,
    Lowering,
    PartitionSelection,
    PluginInfo,
)
from furiosa_ep.partitioner.schema import Schema
from furiosa_ep.partitioner.support import OperatorSupport

if TYPE_CHECKING:
    from furiosa_ep.partitioner.report import Report
    from furiosa_ep.program import Program

PROJECT = "furiosa_ep"
"""The pluggy project name and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """Signatures; a plugin is a module or an object with some of these functions."""

    @hookspec
    def furiosa_plugin(self) -> PluginInfo:  # type: ignore[empty-body]
        """What the plugin is. The only hook that every plugin must have."""

    @hookspec
    def furiosa_schemas(self) -> Iterable[Schema]:  # type: ignore[empty-body]
        """Operators of domains of its own, so that ONNX Runtime loads models with them."""

    @hookspec
    def furiosa_operators(self) -> Iterable[OperatorSupport]:  # type: ignore[empty-body]
        """The operators that the plugin claims: when the NPU takes them, how they are lowered."""

    @hookspec
    def furiosa_lowerings(self) -> Iterable[Lowering]:  # type: ignore[empty-body]
        """Other ways to lower operators that this or another plugin claims."""

    @hookspec
    def furiosa_kernels(self) -> Iterable[Kernel]:  # type: ignore[empty-body]
        """Kernels of its own that its lowerings call."""

    @hookspec
    def furiosa_passes(self) -> Iterable[GraphPass]:  # type: ignore[empty-body]
        """Rewrites of the device graph."""

    @hookspec
    def furiosa_targets(self) -> Iterable[Target]:  # type: ignore[empty-body]
        """Devices that models can be compiled for."""

    @hookspec
    def furiosa_cost_models(self) -> Iterable[CostModel]:  # type: ignore[empty-body]
        """What the NPU gains by a node unit."""

    @hookspec
    def furiosa_selections(self) -> Iterable[PartitionSelection]:  # type: ignore[empty-body]
        """Ways to decide which partitions are taken: values of the option `claim`."""

    @hookspec
    def furiosa_calibrators(self) -> Iterable[Calibrator]:  # type: ignore[empty-body]
        """Ways to find the ranges of activations for the quantizer."""

    @hookspec
    def furiosa_commands(self) -> Iterable[CliCommand]:  # type: ignore[empty-body]
        """Subcommands of `furiosa`."""

    @hookspec
    def furiosa_partitioned(self, report: "Report") -> None:
        """A session's graph has been partitioned. Called each time; must not change the report."""

    @hookspec
    def furiosa_compiled(self, program: "Program") -> None:
        """A Program has been compiled. Called each time, with a copy of it."""


DESCRIPTORS: Mapping[str, type] = MappingProxyType(
    {
        "furiosa_schemas": Schema,
        "furiosa_operators": OperatorSupport,
        "furiosa_lowerings": Lowering,
        "furiosa_kernels": Kernel,
        "furiosa_passes": GraphPass,
        "furiosa_targets": Target,
        "furiosa_cost_models": CostModel,
        "furiosa_selections": PartitionSelection,
        "furiosa_calibrators": Calibrator,
        "furiosa_commands": CliCommand,
    }
)
"""The hooks that give descriptors, and what they give."""
