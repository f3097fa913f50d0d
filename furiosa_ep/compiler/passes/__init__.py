"""Rewrites of the device graph: the built-in ones, and how those of all plugins run."""

from collections.abc import Callable, Iterable, Iterator

from furiosa_ep.compiler.passes.attempt import attempt
from furiosa_ep.compiler.passes.cleanup import remove_dead_operations, remove_identity_tables
from furiosa_ep.compiler.passes.functions import merge_functions
from furiosa_ep.compiler.passes.pads import fold_pads
from furiosa_ep.compiler.passes.residual import fuse_residual_adds
from furiosa_ep.compiler.passes.slices import join_slices
from furiosa_ep.compiler.passes.tables import compose_tables, fuse_tables
from furiosa_ep.compiler.verify import verify
from furiosa_ep.graph import DeviceGraph
from furiosa_ep.partitioner.descriptors import GraphPass, Stage
from furiosa_ep.partitioner.environment import BUILT_IN
from furiosa_ep.partitioner.registry import Scope

Run = Callable[[DeviceGraph], None]


def _in_a_row(stage: Stage, **passes: Run) -> Iterator[GraphPass]:
    """Passes of a stage, by name with underscores, each of them behind the one before."""
    before: tuple[str, ...] = ()
    for name, run in passes.items():
        one = GraphPass(name.replace("_", "-"), run, stage, after=before)
        before = (one.name,)
        yield one


PASSES = (
    *_in_a_row(
        Stage.SIMPLIFY,
        remove_dead_operations=remove_dead_operations,
        merge_functions=merge_functions,
        remove_merged_operations=remove_dead_operations,
        compose_tables=compose_tables,
        remove_identity_tables=remove_identity_tables,
        join_slices=join_slices,
        remove_joined_slices=remove_dead_operations,
    ),
    *_in_a_row(
        Stage.FUSE,
        fuse_tables=fuse_tables,
        fuse_residual_adds=fuse_residual_adds,
        fuse_tables_behind_adds=fuse_tables,
        fold_pads=fold_pads,
    ),
    *_in_a_row(Stage.FINISH, remove_unread_operations=remove_dead_operations),
)
"""The built-in passes."""


def optimize(
    graph: DeviceGraph, passes: Iterable[GraphPass], scope: Scope, *, verify_each: bool = False
) -> DeviceGraph:
    """What passes make of a graph.

    Built-in ones change the graph in place. Those of a plugin get a copy, which takes the graph's
    place where all is well with it. Otherwise the plugin's passes are left out of the session.

    Args:
        graph: as the lowerings have emitted it.
        passes: in the order in which they run.
        scope: what the session makes of the plugins.
        verify_each: whether to verify the graph behind each built-in pass; it always is at the end.

    Raises:
        InternalError: where the graph is not well formed in the end.
        PluginError: where a plugin's pass fails, in strict mode.
    """
    for one in passes:
        if one.owner == BUILT_IN:
            one.run(graph)
            if verify_each:
                verify(graph, one.name)
        elif one.owner not in scope.without_passes:
            graph = attempt(one, graph, scope)
    verify(graph, "passes")
    return graph
