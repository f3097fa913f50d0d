"""The built-in plugin: what comes with furiosa-ep, through the hooks that every plugin uses.

Each part is imported when it is first asked for.
"""

from collections.abc import Iterable

import furiosa_ep
from furiosa_ep.device_emulator.target import Target
from furiosa_ep.partitioner.descriptors import (
    Calibrator,
    CliCommand,
    CostModel,
    GraphPass,
    PartitionSelection,
    PluginInfo,
)
from furiosa_ep.partitioner.hookspecs import hookimpl
from furiosa_ep.partitioner.support import OperatorSupport


@hookimpl
def furiosa_plugin() -> PluginInfo:
    """The plugin's name is reserved: it comes first, and others override it by priority."""
    return PluginInfo("furiosa_ep", furiosa_ep.__version__)


@hookimpl
def furiosa_operators() -> Iterable[OperatorSupport]:
    """The operators of docs/operators.md."""
    from furiosa_ep.partitioner.operators import operators

    return operators()


@hookimpl
def furiosa_passes() -> Iterable[GraphPass]:
    """Those of docs/compiler.md."""
    from furiosa_ep.compiler.passes import PASSES

    return PASSES


@hookimpl
def furiosa_targets() -> Iterable[Target]:
    """Warboy with one PE and with both."""
    from furiosa_ep.device_emulator.target import TARGETS

    return TARGETS


@hookimpl
def furiosa_cost_models() -> Iterable[CostModel]:
    """What operators typically gain."""
    from furiosa_ep.partitioner.selection import COST_MODELS

    return COST_MODELS


@hookimpl
def furiosa_selections() -> Iterable[PartitionSelection]:
    """`profitable` and `all`."""
    from furiosa_ep.partitioner.selection import SELECTIONS

    return SELECTIONS


@hookimpl
def furiosa_calibrators() -> Iterable[Calibrator]:
    """Those of docs/quantization.md."""
    from furiosa_ep.quantization.calibrators import CALIBRATORS

    return CALIBRATORS


@hookimpl
def furiosa_commands() -> Iterable[CliCommand]:
    """The commands of docs/cli.md."""
    from furiosa_ep.cli.commands import COMMANDS

    return COMMANDS
